"""One run for all tests of a module, which must not change it; conftest's `train` makes one for a single test."""

import runpy
import sys
from pathlib import Path

import pytest
from runs import REPOSITORY


def trained(folder: Path, *overrides: str) -> Path:
    """Train in this process and return the run folder, which is below `folder`."""
    before = set(folder.glob("outputs/*/*/*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [str(REPOSITORY / "src" / "train.py"), *overrides])
        runpy.run_path(sys.argv[0], run_name="__main__")
    (run,) = set(folder.glob("outputs/*/*/*")) - before
    return run
