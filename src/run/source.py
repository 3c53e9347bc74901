"""What ran: the commit, and a copy of the code and config as they were at the start."""

import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("src", "config", "requirements.txt")  # enough to run again: `python source/src/train.py`


def copy_source(folder: Path) -> None:
    """Copy the code and config, uncommitted changes included, into `folder`."""
    ignore = shutil.ignore_patterns("__pycache__", ".*", "outputs", "multirun")  # of a run started inside src
    for name in COPIED:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignore, dirs_exist_ok=True)
        elif (REPOSITORY / name).exists():
            shutil.copy2(REPOSITORY / name, folder / name)


def git_state() -> dict[str, str | bool] | None:
    """The commit and whether tracked files differ from it, or None outside of git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
