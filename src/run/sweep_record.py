"""The record of a sweep, sweep.json in the folder of its jobs: how it was started. Jobs and resume_sweep= read it."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from process.errors import UserError
from process.files import path_from_setting, replacing, write_json
from run.data_file import DamagedFileError, read_json
from run.fields import SWEEP, wrong_entry
from run.folder import describe_start

NAME = "sweep.json"
REFUSED = ".refused"  # in a job's folder: why the job did not start, where it may not write run.json
NO_SWEEP = "{}: no folder of a sweep (one with sweep.json and source/, such as multirun/Default/...), or damaged"


def write_start(folder: Path, arguments: list[str]) -> None:
    """Record the start of a sweep with its arguments for Hydra, or that an earlier sweep in `folder` is resumed."""
    start = describe_start()
    if (folder / NAME).exists():
        record = read(folder)
        write_json(folder / NAME, {**record, "resumed": [*record["resumed"], start]})
    else:
        write_json(folder / NAME, {"arguments": arguments, **start, "resumed": []})


def read(folder: Path) -> dict[str, Any]:
    """Return sweep.json. Raises a UserError if the folder is not that of a sweep that can be resumed."""
    path = folder / NAME
    if not path.exists() and (folder / "run.json").is_file():
        raise UserError(f"{folder}: a run, no sweep: resume={folder} continues it")
    try:
        record = read_json(path)
    except (OSError, DamagedFileError) as error:
        raise UserError(NO_SWEEP.format(folder)) from error
    is_sweep = isinstance(record, dict) and {"arguments", "command", "git", "resumed"} <= record.keys()
    if not is_sweep or not record["arguments"] or not (folder / "source" / "src" / "sweep" / "callback.py").is_file():
        raise UserError(NO_SWEEP.format(folder))
    if wrong := wrong_entry(record, SWEEP):
        raise UserError(f"{path} is damaged: {wrong}: restore it, or start a new sweep")
    return record


def find(which: str) -> Path:
    """Return the folder `which`; `last` is the sweep below multirun/ that began last."""
    if not which:
        raise UserError("resume_sweep=: name the folder of a sweep, or last")
    if which != "last":
        return path_from_setting("resume_sweep", which, "name the folder of a sweep, or last").absolute()
    found = [path.parent for path in Path("multirun").glob(f"*/*/*/{NAME}")]
    if not found:
        raise UserError("resume_sweep=last: no sweep below multirun/ here; give its folder")
    return max(found, key=lambda folder: (folder.parts[-2:], folder.stat().st_mtime)).absolute()


def refuse(folder: Path, why: str | None) -> None:
    """Tell the sweep's own process why a job did not start; None: the job starts now."""
    with suppress(OSError, UserError):  # a full disk: the reason is in the terminal only
        if why is None:
            (folder / REFUSED).unlink(missing_ok=True)
        else:
            with replacing(folder / REFUSED) as file:
                file.write(why)


def refusal(folder: Path) -> str | None:
    """Return why the job in the folder did not start, or None."""
    path = folder / REFUSED
    return path.read_text(encoding="utf-8") if path.exists() else None


def latest_start(folder: Path) -> dict[str, Any]:
    """Return the command that started or resumed the sweep last, and the commit of its copy of the code."""
    record = read(folder)
    latest = [record, *record["resumed"]][-1]
    return {"command": latest.get("command", record["command"]), "git": record["git"]}
