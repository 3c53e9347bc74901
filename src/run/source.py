"""What ran: the commit, and a copy of the code and config as they were at the start."""

import filecmp
import shutil
import subprocess
from pathlib import Path

from run.atomic import explained

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("src", "config", "requirements.txt")  # enough to run again: `python source/src/train.py`


def copy_source(folder: Path) -> None:
    """Copy the code and config, uncommitted changes included, to `folder`, which is there once it is complete."""
    ignore = shutil.ignore_patterns("__pycache__", ".*", "outputs", "multirun")  # of a run started inside src
    partial = folder.with_name(f".{folder.name}")
    with explained(folder):
        partial.mkdir()
        for name in COPIED:
            if (REPOSITORY / name).is_dir():
                shutil.copytree(REPOSITORY / name, partial / name, ignore=ignore)
            elif (REPOSITORY / name).exists():
                shutil.copy2(REPOSITORY / name, partial / name)
        partial.rename(folder)


def source_differences(folder: Path, *parts: str) -> list[str]:
    """The files of `parts` (default: all that is copied) that differ between the copy in `folder` and what is here."""

    def files(root: Path) -> set[Path]:
        found = {
            path.relative_to(root) for part in parts or COPIED for path in [root / part, *(root / part).rglob("*")]
        }
        return {path for path in found if (root / path).is_file() and "__pycache__" not in path.parts}

    def same(path: Path) -> bool:
        here, there = REPOSITORY / path, folder / path
        return here.is_file() and there.is_file() and filecmp.cmp(here, there, shallow=False)

    return sorted(str(path) for path in files(REPOSITORY) | files(folder) if not same(path))


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
