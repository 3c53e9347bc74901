"""sweep.json: how a sweep was started, in the folder of its jobs. What its jobs and resume_sweep= read."""

import json
import os
import shlex
import socket
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from process.errors import UserError
from process.files import write_json
from process.secrets import scrub
from run.source import git_state

NAME = "sweep.json"
REFUSED = ".refused"  # in a job's folder: why it was not begun, where run.json is not its own to write
_NONE = "{}: no folder of a sweep (one with sweep.json and source/, such as multirun/Default/...), or damaged"


def write_start(folder: Path, arguments: list[str]) -> None:
    """Of a sweep that begins: its arguments as Hydra takes them; of one that goes on: that it does."""
    start = {
        "started": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        "command": scrub(shlex.join(sys.orig_argv)),
        "git": git_state(),
        "host": socket.gethostname(),
        "pid": os.getpid(),  # it remains the same when the process becomes that of the copy
    }
    if (folder / NAME).exists():
        record = read(folder)
        write_json(folder / NAME, {**record, "resumed": [*record["resumed"], start]})
    else:
        write_json(folder / NAME, {"arguments": arguments, **start, "resumed": []})


def read(folder: Path) -> dict[str, Any]:
    path = folder / NAME
    if not path.exists() and (folder / "run.json").is_file():
        raise UserError(f"{folder}: a run, no sweep: resume={folder} goes on with it")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        record["resumed"], record["command"]
        arguments = [argument.strip() for argument in record["arguments"] if isinstance(record["arguments"], list)]
        whole = (folder / "source" / "src" / "sweep" / "callback.py").is_file() and bool(arguments)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(_NONE.format(folder)) from error
    if not whole:
        raise UserError(_NONE.format(folder))
    return record


def find(which: str) -> Path:
    """A folder, or `last`: the sweep below multirun/ that began last."""
    if not which:
        raise UserError("resume_sweep=: name the folder of a sweep, or last")
    if which != "last":
        return Path(which).absolute()
    found = [path.parent for path in Path("multirun").glob(f"*/*/*/{NAME}")]
    if not found:
        raise UserError("resume_sweep=last: no sweep below multirun/ here; give its folder")
    return max(found, key=lambda folder: (folder.parts[-2:], folder.stat().st_mtime)).absolute()


def refuse(folder: Path, why: str | None) -> None:
    """Leave word for the sweep's own process; None: the job is tried anew."""
    with suppress(OSError):  # a full disk: the terminal has it
        if why is None:
            (folder / REFUSED).unlink(missing_ok=True)
        else:
            (folder / REFUSED).write_text(why, encoding="utf-8")


def refusal(folder: Path) -> str | None:
    path = folder / REFUSED
    return path.read_text(encoding="utf-8") if path.exists() else None


def latest_start(folder: Path) -> dict[str, Any]:
    """The command that its jobs belong to now, and the commit of the code in source/."""
    record = read(folder)
    return {"command": [record, *record["resumed"]][-1]["command"], "git": record["git"]}
