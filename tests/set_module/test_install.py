"""The library as others install it: what is in the wheel, what it needs, and a notebook's lines in docs/networks.md."""

import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from email import message_from_string
from pathlib import Path

import pytest
from runs import REPOSITORY

pytestmark = pytest.mark.processes

PAGE = (REPOSITORY / "docs" / "networks.md").read_text(encoding="utf-8")
(NOTEBOOK,) = (
    textwrap.dedent(block)
    for block in re.findall(r"(?:^(?:    .*)?\n)+", PAGE, re.MULTILINE)
    if "cutout_patch2d(" in block
)
UINT8 = "torch.randint(256, (8, 1, 28, 28), dtype=torch.uint8)"


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def uv(*words: str | Path) -> str:
    return run(sys.executable, "-m", "uv", "--offline", "--quiet", *words)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what an installation reads: it writes build/ and an egg-info beside it."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder)
    shutil.copytree(REPOSITORY / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def environment(folder: Path, *what: str | Path) -> Path:
    """Make an environment with this package and this environment's torch; return its site-packages."""
    uv("venv", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "torch_of_the_tests.pth").write_text(
        sysconfig.get_path("purelib")
    )  # setuptools, which builds, is there too
    uv("pip", "install", "--python", python, "--no-deps", "--no-build-isolation", *what)
    return site


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder, source)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    return environment(tmp_path_factory.mktemp("installed") / "venv", wheel)


@pytest.fixture(scope="module")
def python(site):
    return site.parents[2] / "bin" / "python"


def test_the_wheel_holds_the_library_its_types_and_the_licence_alone(site, source):
    (metadata,) = site.glob("patch_sets-*.dist-info")
    ours = {path.name for path in site.iterdir()} - {path.name for path in site.glob("*_virtualenv*")}
    assert ours == {"set_module", metadata.name, "torch_of_the_tests.pth"}
    files = {path.name for path in (site / "set_module").iterdir()} - {"__pycache__"}
    assert files == {path.name for path in (source / "src" / "set_module").iterdir()}
    assert "py.typed" in files
    assert (metadata / "licenses" / "LICENSE").read_bytes() == (REPOSITORY / "LICENSE").read_bytes()


def test_torch_is_all_that_it_needs(site):
    (metadata,) = site.glob("patch_sets-*.dist-info/METADATA")
    needs = message_from_string(metadata.read_text(encoding="utf-8")).get_all("Requires-Dist")
    assert [need for need in needs if "extra ==" not in need] == ["torch>=2.9"]


def test_nothing_but_torch_is_imported(python):
    code = """
import sys
import torch
before = set(sys.modules)
import set_module
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names - {"torch"}))
"""
    assert run(python, "-I", "-W", "error", "-c", code) == "set_module\n"


@pytest.mark.parametrize("images", [UINT8, "torch.rand(8, 1, 28, 28)"], ids=["uint8", "float"])
def test_the_lines_of_the_page_run_as_they_stand(python, images):
    assert UINT8 in NOTEBOOK
    code = NOTEBOOK.replace(UINT8, images) + "print(list(logits.shape), set_module.__file__)"
    said = run(python, "-I", "-W", "error", "-c", f"import set_module\n{code}").splitlines()
    assert said[0].startswith("SetBatch(8 sets of at most ")
    assert said[1].startswith("[8, 10] ")
    assert Path(said[1].removeprefix("[8, 10] ")).is_relative_to(python.parents[1])


def test_an_editable_installation_adds_the_library_alone(source, tmp_path):
    site = environment(tmp_path / "venv", "--editable", source)
    code = """
from importlib.util import find_spec
print(find_spec("set_module").origin, *(name for name in ("model", "process", "run", "src") if find_spec(name)))
"""
    python = site.parents[2] / "bin" / "python"
    assert run(python, "-I", "-c", code).split() == [str(source / "src" / "set_module" / "__init__.py")]


def test_types_are_those_that_a_strict_user_relies_on(python, tmp_path):
    """mypy --strict takes the first lines, and finds the mistake in the last one."""
    user = tmp_path / "user.py"
    user.write_text("""
import torch
from set_module import PMA, SAB, SetBatch, SetSequential, cutout_patch2d

sets = cutout_patch2d(torch.rand(2, 1, 28, 28), patch_num=(1, 4), patch_size=15)
first, others, sizes = sets[0].mean(), sets[1:].map(torch.Tensor.float), [len(patches) for patches in sets]
logits: torch.Tensor = SetSequential(torch.nn.Flatten(), SAB(225), PMA(225))(SetBatch.from_list(list(others)))
number: int = sets[0]
""")
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "--cache-dir", tmp_path, user]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    assert re.findall(r"user\.py:(\d+): error: .*\[(.*)\]", found) == [("8", "assignment")], found
