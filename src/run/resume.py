"""Which run is resumed, and what of its settings may differ now: pure functions of paths and plain values."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from process.errors import UserError
from process.nested import leaves
from process.ranks import is_rank_zero
from run import sweep_record

ABSENT = "(not set)"
# what no checkpoint can follow, by the beginning of the name; of `data` all but what is listed
FIXED = ("hparams.seed", "hparams.optimizer", "optimizer._target_", "debug", "data")
FREE_DATA = ("root", "batch_size", "num_workers", "memory_limit_gib", "crop_padding", "flip")
# what, changed, asks for more than the checkpoint's state
NEW_PATIENCE = ("hparams.patience", "hparams.max_epochs", "hparams.monitor", "callbacks")
NEW_SCHEDULE = ("hparams.lr", "hparams.max_epochs", "hparams.batch_size", "optimizer", "scheduler", "trainer")


@dataclass(frozen=True)
class Change:
    """A setting that is not what it was when the run was last started."""

    name: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.name}: {_text(self.old)} -> {_text(self.new)}"


def find_run(which: str, finished: bool = False) -> Path:
    """A folder, or `last`: the latest run below outputs/ and multirun/ that can go on; if asked, a finished one."""
    if which != "last":
        folder = Path(which)
        if not (folder / "run.json").is_file():
            raise no_run("resume=", folder)
        return folder.absolute()
    for folder in _latest_first():
        if _can_go_on(folder, finished):
            return folder.absolute()
    raise UserError("resume=last: no run that was broken off below outputs/ or multirun/ here; give its folder")


def no_run(setting: str, folder: Path) -> UserError:
    """What is said of a folder that `setting` names for one."""
    if (folder / sweep_record.NAME).is_file():
        return UserError(f"{setting}{folder}: a sweep: name one of its jobs, {folder}/0 (all: train.py resume_sweep=)")
    return UserError(f"{setting}{folder}: no run folder (one with run.json and source/, such as outputs/Default/...)")


def _can_go_on(folder: Path, finished: bool) -> bool:
    """Also before its first checkpoint; but a run that failed so early would fail again."""
    try:
        status = read_record(folder)["status"]
    except UserError:
        return False
    if (folder / "checkpoints" / "last.ckpt").is_file():
        return finished or status != "finished"
    # source/ comes last of all that a run begins with: without it there is nothing to resume
    return (folder / "source").is_dir() and status in ("running", "interrupted")


def _latest_first() -> Iterator[Path]:
    """outputs/<name>/<date>/<time>[_comment] and multirun/<name>/<date>/<time>[_comment]/<job>."""
    single = [(*path.parts[-2:], -1, path) for path in Path("outputs").glob("*/*/*") if path.is_dir()]
    jobs = [
        (*path.parts[-3:-1], int(path.name), path) for path in Path("multirun").glob("*/*/*/*") if path.name.isdigit()
    ]

    def place(found: tuple[Any, ...]) -> tuple[Any, ...]:
        date, time, job, path = found
        return date, time[: len("HH-MM-SS")], _made(path), job

    runs: list[tuple[Any, ...]] = [*single, *jobs]
    for *_, path in sorted(runs, key=place, reverse=True):
        yield path


def _made(folder: Path) -> float:
    """Which of several in one second, or of the jobs of a sweep, came later: Hydra writes this once, at the start."""
    path = folder / ".hydra" / "hydra.yaml"
    return path.stat().st_mtime if path.exists() else 0.0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder until the block or the process ends, however; refuse it while another process holds it."""
    handle = os.open(folder, os.O_RDONLY)
    _held.add(handle)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{folder} is still going on{_where(folder)}: stop it first, or resume another one"
            ) from error
        except OSError:  # a file system without locks: then nobody is kept out
            pass
        yield
    finally:
        _held.discard(handle)
        os.close(handle)


def _where(folder: Path) -> str:
    """The process that runs there, by its own record."""
    for name in ("run.json", "sweep.json"):
        try:
            record = json.loads((folder / name).read_text(encoding="utf-8"))
            start = [record, *record.get("resumed", [])][-1]
            return f" (process {start['pid']} on {start['host']})"
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            pass
    return ""


_held: set[int] = set()


def _let_go() -> None:
    for handle in _held:
        os.close(handle)
    _held.clear()


# a lock is shared with forked processes: workers outlive a killed run by seconds, and would keep resume= out
os.register_at_fork(after_in_child=_let_go)


def read_record(folder: Path) -> dict[str, Any]:
    """run.json of a run that is to be resumed."""
    path = folder / "run.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: restore it, or start anew with init_from={folder}") from error
    if not isinstance(facts, dict) or not isinstance(facts.get("status"), str):
        raise UserError(f"{path} is not that of a run: restore it, or start anew with init_from={folder}")
    return facts


def earlier_record(folder: Path) -> dict[str, Any] | None:
    """run.json of the run that a job of a sweep finds in its folder; None where it has none to go on with."""
    try:
        if not (folder / "run.json").exists() and not (folder / "source").exists():
            return None
        record = read_record(folder)
    except UserError as error:
        raise UserError(
            f"{folder / 'run.json'} is lost or damaged: restore it, or delete {folder} to run it anew"
        ) from error
    if record["status"] != "finished" and not (folder / "source").is_dir():  # killed in its first moments
        if is_rank_zero():
            shutil.rmtree(folder / ".source", ignore_errors=True)
        return None
    if record["status"] != "finished" and not is_rank_zero() and not (folder / "checkpoints" / "last.ckpt").is_file():
        return None  # it may be what rank 0 has just begun; if it goes on, then also from the start
    return record


def changes(folder: Path, config: Mapping[str, Any]) -> list[Change]:
    """What of `config` (interpolations as they are written) differs from what was composed for the run in `folder`."""
    path = folder / ".hydra" / "config.yaml"
    try:
        recorded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: restore it, or start anew with init_from={folder}") from error
    return compare(recorded, config)


def compare(recorded: Mapping[str, Any], config: Mapping[str, Any]) -> list[Change]:
    """The settings in which two configs differ, `resume` itself apart."""
    old, new = dict(leaves(recorded)), dict(leaves(config))
    names = sorted(old.keys() | new.keys())
    differing = [Change(name, old.get(name, ABSENT), new.get(name, ABSENT)) for name in names]
    return [change for change in differing if change.old != change.new and change.name != "resume"]


def in_words(found: list[Change]) -> list[str]:
    """A line for each change, and one for all settings of a logger or callback that came or went as a whole."""
    wholes = {
        change.name.removesuffix("._target_"): "added" if change.old is ABSENT else "left out"
        for change in found
        if change.name.endswith("._target_") and (change.old is ABSENT or change.new is ABSENT)
    }
    lines: dict[str, None] = {}  # in order, each once
    for change in found:
        whole = next((name for name in wholes if change.name.startswith(f"{name}.")), None)
        lines[f"{whole}: {wholes[whole]}" if whole else str(change)] = None
    return list(lines)


def refuse_fixed(found: list[Change], folder: Path) -> None:
    """Raise a UserError for the first change that a resumed run cannot follow."""
    for change in found:
        top, _, rest = change.name.partition(".")
        if change.name == "hparams.lr" and change.new == 0:
            raise UserError(f"{change}: the search for a learning rate is done at the start of a run: give a rate")
        if any(change.name == name or change.name.startswith(f"{name}.") for name in FIXED) and not (
            top == "data" and rest in FREE_DATA
        ):
            raise UserError(
                f"{change} cannot change in a resumed run: leave it, or start a new run from its weights, "
                f"init_from={folder}"
            )


def touches(found: list[Change], names: tuple[str, ...]) -> bool:
    return any(change.name == name or change.name.startswith(f"{name}.") for change in found for name in names)


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
