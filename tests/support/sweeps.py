"""Sweeps that are started and read as a user does."""

import json
from pathlib import Path

import warm
from runs import REPOSITORY

TINY = ("data=digits", "data.limit_train=256", "model=cnn", "hparams.max_epochs=1", "loggers=none")


def start(folder: Path, *arguments: str, repository: Path = REPOSITORY, new_session: bool = False) -> warm.Process:
    """Start `python src/train.py ARGUMENTS` in `folder`; its output is in `.stdout`."""
    script = str(repository / "src" / "train.py")
    return warm.Process(script, *arguments, cwd=folder, merged=True, new_session=new_session)


def sweep_in(folder: Path) -> Path:
    (sweep,) = folder.glob("multirun/*/*/*")
    return sweep


def statuses(sweep: Path) -> list[str | None]:
    """Return the status of each job by number, None for one that has not begun."""
    folders = sorted((path for path in sweep.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
    files = [folder / "run.json" for folder in folders]
    return [json.loads(file.read_text())["status"] if file.exists() else None for file in files]
