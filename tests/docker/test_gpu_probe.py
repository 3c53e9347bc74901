"""The probe of docker/run.sh, with a stand-in for NVIDIA's driver and torch builds for several versions of CUDA."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runs import REPOSITORY

pytestmark = pytest.mark.processes

DRIVER = """
int cuDriverGetVersion(int *version) {{ *version = {version}; return 0; }}
int cuInit(unsigned flags) {{ return {status}; }}
"""


def probe(folder: Path, cuda: str | None, version: int | None, status: int = 0) -> tuple[int, str]:
    """Return exit code and message for a torch that is built for `cuda` and a driver (None: none) of this version."""
    if cuda is not None:
        (folder / "torch").mkdir()
        (folder / "torch" / "__init__.py").write_text("raise ImportError('torch must not be imported')\n")
        (folder / "torch" / "version.py").write_text(
            f"__version__ = '2.15.0'\ndebug = False\ncuda: Optional[str] = {cuda}\ngit_version = '12.8'\n"
        )
    if version is not None:
        (folder / "stub.c").write_text(DRIVER.format(version=version, status=status))
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler")
        compile = [compiler, "-shared", "-fPIC", "-o", folder / "libcuda.so.1", folder / "stub.c"]
        subprocess.run(compile, check=True)
    with (REPOSITORY / "docker" / "gpu_probe.py").open() as code:
        done = subprocess.run(
            [sys.executable, "-S", "-"],  # without this environment's own torch
            stdin=code,
            env=os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
        )
    assert done.stdout == ""
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize(("cuda", "version"), [("'13.2'", 13000), ("'13.2'", 14010), ("'12.8'", 12000), (None, 12040)])
def test_a_driver_of_the_same_major_version_or_later_is_enough(cuda, version, tmp_path):
    assert probe(tmp_path, cuda, version) == (0, "")


@pytest.mark.parametrize(
    ("cuda", "version", "said"),
    [
        (
            "'13.2'",
            12040,
            "the driver supports CUDA 12.4, and the image's torch needs CUDA 13: "
            "CUDA=12 docker/build.sh, or install driver 580 or later",
        ),
        (
            "'13.2'",
            11080,
            "the driver supports CUDA 11.8, and the image's torch needs CUDA 13: install driver 580 or later",
        ),
        (
            "'12.8'",
            11080,
            "the driver supports CUDA 11.8, and the image's torch needs CUDA 12: install driver 525 or later",
        ),
    ],
)
def test_an_older_driver_is_named_with_what_helps(cuda, version, said, tmp_path):
    assert probe(tmp_path, cuda, version) == (1, said)


def test_torch_for_the_cpu(tmp_path):
    code, said = probe(tmp_path, "None", 13000)
    assert code == 1
    assert "for the CPU alone" in said


def test_without_a_driver(tmp_path):
    code, said = probe(tmp_path, "'13.2'", None)
    assert code == 1
    assert "no libcuda.so.1" in said


def test_a_driver_that_does_not_start(tmp_path):
    code, said = probe(tmp_path, "'13.2'", 13000, status=803)
    assert code == 1
    assert "cuInit returns 803" in said


def test_the_torch_of_the_lock_states_its_cuda():
    import torch

    line = f"cuda: Optional[str] = {torch.version.cuda!r}"
    assert line in Path(torch.version.__file__).read_text()
