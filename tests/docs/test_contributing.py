"""The examples in CONTRIBUTING.md work as they are written: their files are copied, their commands run.

All of it happens in this process. A copy holds train.py, config/ and the files of the example; everything else is the
repository's own code, whose packages look for the new modules in the copy too.
"""

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runs import REPOSITORY, record
from source_imports import SRC
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.autograd.gradcheck import GradcheckError

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
_, *PARTS = re.split(r"^### ", TEXT.partition("## To add a part")[2].partition("\n## ")[0], flags=re.MULTILINE)
EXAMPLES = {part.partition("\n")[0]: part for part in PARTS}
FILE = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r":\n\n```python\n(import numpy.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^    python src/train\.py (.*)", re.MULTILINE)
PACKAGES = [path.parent for path in SRC.glob("*/__init__.py")]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """`copy(example)` -> the folder in which it was written down, which is the working directory from then on."""
    before = set(sys.modules)

    def write(example: str) -> Path:
        folder = tmp_path / "copy"
        shutil.copytree(REPOSITORY / "config", folder / "config")
        (folder / "src").mkdir()
        shutil.copy(SRC / "train.py", folder / "src")
        for name, text in FILE.findall(example):
            path = folder / name
            assert not (REPOSITORY / name).exists(), name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(folder / "src")
        for package in PACKAGES:
            module = __import__(package.name)
            monkeypatch.setattr(module, "__path__", [*module.__path__, str(folder / "src" / package.name)])
        monkeypatch.chdir(folder)
        for script in SCRIPT.findall(example):
            exec(script, {})
        return folder

    yield write
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def run(folder: Path, arguments: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the run folder of the command."""
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    before = set(folder.glob("outputs/*/*/*"))
    monkeypatch.setattr(sys, "argv", [str(folder / "src" / "train.py"), *shlex.split(arguments)])
    runpy.run_path(sys.argv[0], run_name="__main__")
    (made,) = set(folder.glob("outputs/*/*/*")) - before
    return made


@pytest.mark.parametrize("name", [name for name, example in EXAMPLES.items() if COMMAND.search(example)])
def test_the_commands_of_an_example_train(name, copy, monkeypatch):
    folder = copy(EXAMPLES[name])
    for arguments in COMMAND.findall(EXAMPLES[name]):
        made = run(folder, arguments, monkeypatch)
        assert record(made)["status"] == "finished"
        metrics = record(made)["metrics"]
        if name == "Data with several tasks":
            assert metrics["test_classification_accuracy"] > 0.15
            assert metrics["test_regression_mae"] < 0.3
        elif name == "A task":
            assert 0.5 < metrics["test_coverage"] <= 1  # of the share 0.9 that is asked for, after few steps
        else:
            assert metrics["train_accuracy"] > 0.15  # chance: 0.1, with a deviation of 0.01
        config = (made / "config.yaml").read_text(encoding="utf-8")
        for target in re.findall(r"^ *_target_: (.*)", EXAMPLES[name], re.MULTILINE):
            assert f"_target_: {target}\n" in config
        CHECKS.get(name, lambda _: None)(made)


def check_logger(made: Path) -> None:
    lines = [json.loads(line) for line in (made / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {name for line in lines for name in line} >= {"train_loss", "valid_accuracy", "test_accuracy", "step"}


def check_metrics(made: Path) -> None:
    assert {"test_cohen_kappa", "test_f_beta_score"} <= record(made)["metrics"].keys()


def check_picture(made: Path) -> None:
    events = EventAccumulator(str(made / "tensorboard"), size_guidance={"images": 0}).Reload()
    (picture,) = events.Images("pictures/class_means")
    assert (picture.width, picture.height) > (400, 200)  # ten digits in two rows


CHECKS = {
    "A logger": check_logger,
    "A metric": check_metrics,
    "A callback that draws a picture": check_picture,
}


def test_every_part_has_a_complete_example():
    names = {"A pool", "An encoder", "An embedding", "A network", "A selection", "A data set", "A loss", "A logger"}
    names |= {"A callback that draws a picture", "A recipe"}
    assert names <= {name for name, example in EXAMPLES.items() if FILE.search(example) and COMMAND.search(example)}


def test_the_operation_passes_its_own_check_which_notices_a_wrong_backward():
    operation = EXAMPLES["An operation with a gradient of its own"]
    (code,) = re.findall(r"^```python\n(import torch.*?)^```", operation, re.MULTILINE | re.DOTALL)
    exec(code, {})
    with pytest.raises(GradcheckError):
        exec(code.replace("return grad *", "return 2 * grad *"), {})


@pytest.mark.processes
def test_the_lines_of_the_tables_test_the_pool_and_the_encoder(tmp_path):
    """test_every_set_module.py with both lines passes, in a process of its own: it imports src/ of the copy."""
    for folder in ("src", "tests/support"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    text = (SRC.parent / "tests/set_module/test_every_set_module.py").read_text(encoding="utf-8")
    for name, table in (("A pool", "POOLS = {"), ("An encoder", "ENCODERS: dict[str, partial] = {")):
        for path, content in FILE.findall(EXAMPLES[name]):
            if path.startswith("src/"):
                (tmp_path / path).write_text(content, encoding="utf-8")
                module, class_name = Path(path).stem, re.search(r"^class (\w+)", content, re.MULTILINE)[1]
                text = text.replace("\nD = 8", f"\nfrom set_module.{module} import {class_name}\n\nD = 8", 1)
        (line,) = re.findall(r'^```python\n(    ".*\n)```', EXAMPLES[name], re.MULTILINE)
        assert table in text
        text = re.sub(rf"({re.escape(table)}[^\n]*\n)", lambda found, line=line: found[1] + line, text, count=1)
    (tmp_path / "tests/test_every_set_module.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-k", "GeM or comm", "tests"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
