"""What ran: the commit, and a copy of the code and config as they were at the start."""

import filecmp
import os
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import NoReturn

from process.files import explain_os_errors

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("src", "config", "requirements.txt")  # enough to run again: `python source/src/train.py`
IGNORED = ("__pycache__", ".*", "outputs", "multirun")  # the last two of a run started inside src


def copy_source(folder: Path) -> None:
    """Copy the code and config, uncommitted changes included, to `folder`, which is there once it is complete."""
    partial = folder.with_name(f".{folder.name}")
    with explain_os_errors(folder):
        partial.mkdir()
        for name in COPIED:
            if (REPOSITORY / name).is_dir():
                shutil.copytree(REPOSITORY / name, partial / name, ignore=shutil.ignore_patterns(*IGNORED))
            elif (REPOSITORY / name).exists():
                shutil.copy2(REPOSITORY / name, partial / name)
        partial.rename(folder)


def run_copy(source: Path, arguments: list[str]) -> NoReturn:
    """Become the same command with these arguments, out of the copy in `source`, as will the processes it starts."""
    command = Path(sys.argv[0]).resolve().relative_to(REPOSITORY)
    before = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(source / "src"), *before])
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(source / command), *arguments])


def source_differences(folder: Path, *parts: str) -> list[str]:
    """The files of `parts` (default: all that is copied) that differ between the copy in `folder` and what is here."""

    def files(root: Path) -> set[Path]:
        found = {
            path.relative_to(root) for part in parts or COPIED for path in [root / part, *(root / part).rglob("*")]
        }
        ignored = {path for path in found if any(fnmatch(part, each) for part in path.parts for each in IGNORED)}
        return {path for path in found - ignored if (root / path).is_file()}

    def same(path: Path) -> bool:
        here, there = REPOSITORY / path, folder / path
        return here.is_file() and there.is_file() and filecmp.cmp(here, there, shallow=False)

    return sorted(str(path) for path in files(REPOSITORY) | files(folder) if not same(path))


def git_state() -> dict[str, str | bool] | None:
    """The commit and whether tracked files differ from it; None outside of git, and of a copy in a run folder."""
    try:
        if (
            subprocess.run(
                ["git", "-C", str(REPOSITORY), "check-ignore", "-q", "."], stderr=subprocess.DEVNULL
            ).returncode
            == 0
        ):
            return None  # the repository around a run folder is not the code that runs
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
