"""Find run folders and read what each says of itself: run.json alone, so that ten thousand take a second or two."""

import fcntl
import json
import os
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

# what run.json says besides settings and metrics, as far as a report shows, filters or sorts by it
FACTS = (
    "status",
    "comment",
    "experiment_name",
    "started",
    "ended",
    "seconds",
    "host",
    "device",
    "parameters",
    "error",
    "best_score",
)
# the end of the path of a single run, of a sweep, or of a sweep's job (run/folder.py names them)
DATED = re.compile(r"(?:^|/)\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d[^/]*(?P<job>/\d+)?$")


@dataclass(frozen=True)
class RunRecord:
    """What the run.json of one folder says. One that says nothing of use has the status `damaged` and an `error`."""

    facts: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)  # what was set for this run
    composed: dict[str, Any] = field(default_factory=dict)  # groups and hparams as they were, set or not
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def known(self) -> dict[str, Any]:
        """The settings, those included that are known though nobody set them."""
        return self.composed | self.settings

    def value(self, name: str) -> Any:
        for source in (self.settings, self.composed, self.metrics, self.facts):
            if name in source:
                return source[name]
        return None


def read_runs(folders: Iterable[str]) -> list[RunRecord]:
    """Every run in or under the folders, the newest last; what has no time of a start comes first."""
    runs = (run for folder in folders for run in _walk(folder))
    return sorted(runs, key=lambda run: (run.facts.get("started", ""), _natural(run.facts["folder"])))


def _walk(folder: str) -> Iterator[RunRecord]:
    try:
        with open(os.path.join(folder, "run.json"), "rb") as file:  # noqa: PTH118, PTH123 - pathlib takes twice as long
            yield _read(folder, file.read())
        return
    except FileNotFoundError:
        pass
    except OSError as error:
        yield _damaged(folder, f"run.json: {error.strerror}")
        return

    dated = DATED.search(os.path.abspath(folder))  # noqa: PTH100
    if dated and dated["job"]:
        yield _damaged(folder, "no run.json")
        return
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError as error:
        yield _damaged(folder, error.strerror or "unreadable")
        return
    # no links: they would show a run twice, or lead in circles
    inside = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."]
    if dated:
        inside = [name for name in inside if name.isdecimal()]  # the jobs of a sweep
        if not inside and not any(entry.name == "multirun.yaml" for entry in entries):
            yield _damaged(folder, "no run.json")
    for name in inside:
        yield from _walk(os.path.join(folder, name))  # noqa: PTH118


def _read(folder: str, content: bytes) -> RunRecord:
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        return _damaged(folder, "run.json is no JSON")
    if not isinstance(record, dict) or not isinstance(record.get("status"), str):
        return _damaged(folder, "run.json is not that of a run")
    settings, composed, metrics = (record.get(name, {}) for name in ("settings", "composed", "metrics"))
    if not (isinstance(settings, dict) and isinstance(composed, dict) and isinstance(metrics, dict)):
        return _damaged(folder, "run.json is not that of a run")
    facts = {"folder": folder, **{name: record[name] for name in FACTS if record.get(name) is not None}}
    if not isinstance(facts.get("started", ""), str):
        return _damaged(folder, "run.json is not that of a run")
    if facts["status"] == "running" and _is_gone(folder, record):
        with open(os.path.join(folder, "run.json"), "rb") as file:  # noqa: PTH118, PTH123
            if (now := file.read()) != content:  # it has ended meanwhile, with a word
                return _read(folder, now)
        facts["status"] = "dead"
    numbers = {name: _number(value) for name, value in metrics.items()}
    measured = {name: number for name, number in numbers.items() if number is not None}
    return RunRecord(facts, settings, composed, measured)


def _damaged(folder: str, why: str) -> RunRecord:
    return RunRecord({"folder": folder, "status": "damaged", "error": why})


def _number(value: Any) -> float | None:
    """run.json holds nan and infinity as text; what else is no number is no metric."""
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None


def _is_gone(folder: str, record: dict[str, Any]) -> bool:
    """Whether the process has ended without a word (SIGKILL, no memory left, power): it held a lock on the folder."""
    resumed = record.get("resumed")
    start = resumed[-1] if isinstance(resumed, list) and resumed else record
    if not isinstance(start, dict) or start.get("host") != socket.gethostname():
        return False  # a lock may not reach other machines
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    except OSError:  # held by the run; or a file system without locks, of which nothing can be known
        return False
    finally:
        os.close(handle)


def _natural(path: str) -> list[tuple[int, str]]:
    """Sorts job 10 after job 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in path.split("/")]
