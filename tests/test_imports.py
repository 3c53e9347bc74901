"""Import directions (CONTRIBUTING, "Layout"): they keep every part replaceable by a line of YAML."""

import subprocess
import sys

import pytest
from source_imports import COMMANDS, FILES, OWN, SRC, imports, part

ALLOWED = {  # part -> the parts of this project that it may import; adapter is open to all but set_module
    **{command: {"command", "run", "process", "table", "training_log", "settings"} for command in COMMANDS},
    "evaluate": {"command", "evaluation", "run", "process", "settings"},
    "evaluation": {"evaluation", "command", "run", "process", "table", "set_module", "task"},
    "start": {"ask", "command", "process", "run"},
    "new_project": {"scaffold", "command", "process", "run"},
    "adapter": {"adapter"},
    "process": {"process"},
    "settings": {"task", "process"},
    "run": {"run", "process", "settings"},
    "command": {"command", "run", "process", "settings"},
    "sweep": {"sweep", "command", "run", "process", "table", "settings"},
    "model": {"task", "set_module", "training_log"},
    "task": {"task", "set_module", "process"},
    "training_log": {"process"},
    "selection": {"selection", "set_module"},
    "network": {"network", "selection", "set_module", "process", "settings"},
    "set_module": {"set_module"},
    "fonts": set(),
    "datamodule": {"datamodule", "set_module", "process", "settings"},
    "callback": {"callback", "training_log", "run", "process"},
    "figure": {"figure", "fonts", "training_log", "set_module", "run", "process"},
    "logger": {"logger", "run", "process"},
    "table": {"table", "fonts", "run", "process", "settings"},
    "ask": {"ask", "command", "run", "process", "settings"},
    "scaffold": {"scaffold", "process"},
    "prediction": {"prediction", "set_module", "process"},
    "embedding": {"embedding", "process"},
    "exporter": {"exporter", "network", "set_module", "process"},
    "explore": {"explore", "command", "run", "process", "table", "set_module", "figure"},
}
KNOW_HYDRA = COMMANDS | {"command", "sweep", "adapter"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_directions(path):
    used = {name.partition(".")[0] for name in imports(path)}
    assert "src" not in used, "`from src.x import` makes a second copy of every class"
    own = part(path)
    # a module of one's own beside model.py (a loss, a LightningModule) needs no line above; a package does
    allowed = OWN - COMMANDS if own not in ALLOWED and path.parent == SRC else ALLOWED[own]
    assert (used & OWN) - {"adapter"} <= allowed
    if part(path) not in KNOW_HYDRA:
        assert "hydra" not in used
    if part(path) == "set_module":
        assert "adapter" not in used
        third_party = used - OWN - set(sys.stdlib_module_names)
        assert third_party <= {"torch"}


FIRST = COMMANDS | {
    "command",
    "run",
    "process",
    "adapter",
    "settings",
    "ask",
    "scaffold",
}  # what is imported before a command knows what it is asked for


@pytest.mark.parametrize(
    "path", [path for path in FILES if part(path) in FIRST or path.name == "settings.py"], ids=lambda path: path.name
)
def test_nothing_slow_on_the_way_to_help(path):
    slow = {"torch", "torchvision", "torchmetrics", "pytorch_lightning", "sklearn", "mlflow", "rich"}
    assert not {name.partition(".")[0] for name, depth in imports(path).items() if depth == 0} & slow


@pytest.mark.processes
@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_imports_nothing_slow(command):
    code = f"""
import runpy, sys
sys.path.insert(0, {str(SRC)!r})
sys.argv = [{str(SRC / f"{command}.py")!r}, "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    pass
print("slow:", sorted({{"torch", "numpy", "rich", "sklearn"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "slow: []"


def test_no_file_shadows_the_standard_library():
    assert not OWN & set(sys.stdlib_module_names)
    assert not list((SRC.parent / "hydra").glob("*.py")), "hydra/*.py would shadow the library"
    assert not list((SRC.parent / "tests").rglob("__init__.py"))
