"""The choice of the run to resume, and the settings that may differ from those with which it was started."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import settings
from process.errors import UserError
from process.files import path_from_setting
from process.ranks import is_rank_zero
from run import sweep_record
from run.data_file import DamagedFileError, read_yaml
from run.folder import RecordError, read_run_json
from settings import leaves

ABSENT = "(not set)"
UNSET = (None, ABSENT)


@dataclass(frozen=True)
class Change:
    """A setting that differs from the run's last start."""

    name: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.name}: {_yaml(self.old)} -> {_yaml(self.new)}"


def find_run(which: str, finished: bool = False) -> Path:
    """Return the folder of the run to resume.

    Args:
        which: a run folder, or `last` for the latest run below outputs/ and multirun/ that can be resumed.
        finished: whether `last` may be a finished run, to which a changed setting may add epochs.
    """
    if which != "last":
        folder = path_from_setting("resume", which, "name a run folder, or last")
        if not (folder / "run.json").is_file():
            raise not_a_run("resume=", folder)
        return folder.absolute()
    for folder in _latest_first():
        if _is_resumable(folder, finished):
            return folder.absolute()
    raise UserError("resume=last: no interrupted run below outputs/ or multirun/ here; give its folder")


def not_a_run(setting: str, folder: Path) -> UserError:
    """Return the error for the folder that `setting` (such as `resume=`) names and that holds no run."""
    if (folder / sweep_record.NAME).is_file():
        return UserError(f"{setting}{folder}: a sweep: name one of its jobs, such as {folder}/0")
    return UserError(f"{setting}{folder}: no run folder (one with run.json and source/, such as outputs/Default/...)")


def _is_resumable(folder: Path, finished: bool) -> bool:
    """Return whether a run can be resumed. A run that failed before its first checkpoint would fail again."""
    try:
        status = read_run_json(folder)["status"]
    except RecordError:
        return False
    if (folder / "checkpoints" / "last.ckpt").is_file():
        return finished or status != "finished"
    # a run writes source/ last before it trains: without it there is nothing to resume
    return (folder / "source").is_dir() and status in ("running", "interrupted")


def _latest_first() -> Iterator[Path]:
    """Yield the folders outputs/<name>/<date>/<time>[_comment] and multirun/<name>/<date>/<time>[_comment]/<job>."""
    single = [(*path.parts[-2:], -1, path) for path in Path("outputs").glob("*/*/*") if path.is_dir()]
    jobs = [
        (*path.parts[-3:-1], int(path.name), path) for path in Path("multirun").glob("*/*/*/*") if path.name.isdigit()
    ]

    def place(found: tuple[Any, ...]) -> tuple[Any, ...]:
        date, time, job, path = found
        return date, time[: len("HH-MM-SS")], _start_time(path), job

    runs: list[tuple[Any, ...]] = [*single, *jobs]
    for *_, path in sorted(runs, key=place, reverse=True):
        yield path


def _start_time(folder: Path) -> float:
    """Return when Hydra, at the run's start, wrote its own file; this orders runs that began in the same second."""
    path = folder / ".hydra" / "hydra.yaml"
    return path.stat().st_mtime if path.exists() else 0.0


def earlier_record(folder: Path) -> dict[str, Any] | None:
    """Return run.json of the earlier attempt that a sweep's job finds in its folder; None if it starts anew."""
    if not (folder / "run.json").exists() and not (folder / "source").exists():
        return None
    try:
        record = read_run_json(folder)
    except RecordError as error:
        raise UserError(
            f"{folder / 'run.json'} is lost or damaged: restore it, or delete {folder} to repeat the job"
        ) from error
    if record["status"] != "finished" and not (folder / "source").is_dir():  # killed in its first moments
        if is_rank_zero():
            shutil.rmtree(folder / ".source", ignore_errors=True)
        return None
    if record["status"] != "finished" and not is_rank_zero() and not (folder / "checkpoints" / "last.ckpt").is_file():
        return None  # rank 0 may just have started it; if not, it is resumed from its start, which is the same
    return record


def changes(folder: Path, config: Mapping[str, Any], file: str) -> list[Change]:
    """Return the settings in which `config` differs from that in a file of the run in `folder`."""
    path = folder / file
    try:
        recorded = read_yaml(path)
        if not isinstance(recorded, dict):
            raise DamagedFileError("is no mapping")
    except (OSError, DamagedFileError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{path} is damaged ({why}): restore it, or start a new run with init_from={folder}") from error
    return compare(recorded, config)


def compare(recorded: Mapping[str, Any], config: Mapping[str, Any]) -> list[Change]:
    """Return the settings in which two configs differ, except `resume`."""
    old, new = dict(leaves(recorded)), dict(leaves(config))
    names = sorted(old.keys() | new.keys())
    differing = [Change(name, old.get(name, ABSENT), new.get(name, ABSENT)) for name in names]
    return [change for change in differing if change.old != change.new and change.name != "resume"]


def describe_changes(found: list[Change]) -> list[str]:
    """Return a line for each change; a logger or callback that was added or left out as a whole is one line."""
    wholes = {
        change.name.removesuffix("._target_"): "added" if change.old is ABSENT else "left out"
        for change in found
        if change.name.endswith("._target_") and (change.old is ABSENT or change.new is ABSENT)
    }
    lines: dict[str, None] = {}  # an ordered set
    for change in found:
        whole = next((name for name in wholes if change.name.startswith(f"{name}.")), None)
        lines[f"{whole}: {wholes[whole]}" if whole else str(change)] = None
    return list(lines)


def refuse_fixed(found: list[Change], folder: Path) -> None:
    """Raise a UserError for the first changed setting that a resumed run must keep; `found` are values, resolved."""
    for change in found:
        if change.name in ("hparams.test_patch_num", "model.name_suffix"):
            keep = "add hparams.test_patch_num=" + _yaml(change.old) if change.name[0] == "h" else "leave it"
            raise UserError(
                f"{change}: best.ckpt was chosen by validations with other numbers of patches: {keep}, or start a new "
                f"run from its weights, init_from={folder}"
            )
        if change.name == "hparams.lr" and change.new == 0:
            raise UserError(f"{change}: the learning-rate finder runs only at the start of a run: give a rate")
        if change.name == "hparams.embed_lr" and (change.old in UNSET) != (change.new in UNSET):
            keep = "leave it out" if change.old in UNSET else "choose another rate"
            raise UserError(
                f"{change}: a resumed run keeps its parameter groups: {keep}, or start a new run from its weights, "
                f"init_from={folder}"
            )
        if settings.find(change.name).fixed:
            raise UserError(
                f"{change} cannot change in a resumed run: leave it, or start a new run from its weights, "
                f"init_from={folder}"
            )


def _yaml(value: Any) -> str:
    return "null" if value is None else str(value)
