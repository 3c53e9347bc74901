"""sweep.json: how a sweep was started, in the folder of its jobs. What its jobs and resume_sweep= read."""

import json
import shlex
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from run.atomic import write_json
from run.errors import UserError
from run.secrets import scrub
from run.source import git_state

NAME = "sweep.json"


def write_start(folder: Path, arguments: list[str]) -> None:
    """Of a sweep that begins: its arguments as Hydra takes them; of one that goes on: that it does."""
    start = {
        "started": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        "command": scrub(shlex.join(sys.orig_argv)),
        "git": git_state(),
        "host": socket.gethostname(),
    }
    if (folder / NAME).exists():
        record = read(folder)
        write_json(folder / NAME, {**record, "resumed": [*record["resumed"], start]})
    else:
        write_json(folder / NAME, {"arguments": arguments, **start, "resumed": []})


def read(folder: Path) -> dict[str, Any]:
    path = folder / NAME
    try:
        next((folder / "source").iterdir())
        record = json.loads(path.read_text(encoding="utf-8"))
        record["arguments"], record["resumed"], record["command"]
    except (OSError, ValueError, TypeError, KeyError, StopIteration) as error:
        raise UserError(
            f"{folder}: no folder of a sweep (one with {NAME} and source/, such as multirun/Default/...), or damaged"
        ) from error
    return record


def latest_start(folder: Path) -> dict[str, Any]:
    """The command that its jobs belong to now, and the commit of the code in source/."""
    record = read(folder)
    return {"command": [record, *record["resumed"]][-1]["command"], "git": record["git"]}
