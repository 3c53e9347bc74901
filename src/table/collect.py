"""Find run folders and read their run.json and evaluation.json, and nothing else: ten thousand runs take a second."""

import fcntl
import os
import re
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from process.errors import UserError
from run import fields
from run.data_file import MIB, DamagedFileError, read_json
from run.fields import wrong_entry
from run.folder import EVALUATION, MissingRecordError, RecordError, read_run_json

# the entries of run.json, besides settings and metrics, that a report shows, filters or sorts by
FACTS = (
    "status",
    "comment",
    "experiment_name",
    "started",
    "ended",
    "seconds",
    "host",
    "device",
    "debug",
    "parameters",
    "error",
    "best_score",
    "best_epoch",
)
MOST_BYTES = 256 * MIB  # of evaluation.json: the confusion matrix of 5,000 classes
COUNTS = ("images", "nan_images", "sets", "nan_sets")  # its counts, which are no metrics
PARTS = ("sizes", "per_class", "per_label", "per_count", "per_component")  # its metrics of parts of the test
LOSSES = frozenset({"loss", "calibration_error"})  # lower is better; for records without `lower_is_better`
LAST = "last_"  # begins the names of metrics of the last epoch, which are not those of the tested checkpoint
MIXED = re.compile(r"(?P<metric>.*)/n=\d+-\d+")  # a metric of sets of different numbers, as hparams.test_patch_num=null
ACCURACY = re.compile(r"(?P<stage>(last_)?(train|valid|test)_)accuracy(?P<of>/.*)?")
# the end of the path of a single run, of a sweep, or of a sweep's job, as run/folder.py makes it
DATED = re.compile(r"(?:^|/)\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d[^/]*(?P<job>/\d+)?$")


@dataclass(frozen=True)
class RunRecord:
    """The content of one folder's run.json; if that cannot be used, the status is `damaged` and `error` says why."""

    facts: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)  # as set on the command line
    composed: dict[str, Any] = field(default_factory=dict)  # all chosen options and used hparams, set or not
    metrics: dict[str, float] = field(default_factory=dict)
    lower_is_better: frozenset[str] = LOSSES  # results without their stage, such as loss
    warning: str | None = None  # why evaluation.json is ignored

    @property
    def known(self) -> dict[str, Any]:
        """The settings, including defaults and what a recipe chose."""
        return self.composed | self.settings

    @property
    def no_result(self) -> str | None:
        """`debug` or `refused` for a run that does not count as a result, else None."""
        if self.value("debug") is True:
            return "debug"
        never_trained = "parameters" not in self.facts  # recorded just before the first step
        return "refused" if self.facts["status"] == "failed" and never_trained else None

    def value(self, name: str) -> Any:
        """Return a setting, metric or other entry of run.json, or None."""
        for source in (self.settings, self.composed, self.metrics, self.facts):
            if name in source:
                return source[name]
        return None


def read_runs(folders: Iterable[str]) -> list[RunRecord]:
    """Return every run in or under the folders once, the newest last; runs without a start time come first."""
    # the deepest last: a run that is named itself keeps that name, though a folder around it is named too
    tops = sorted(folders, key=lambda folder: len(os.path.realpath(folder)))
    runs = {_identity(run.facts["folder"]): run for top in tops for run in _walk(top)}
    return sorted(runs.values(), key=lambda run: (run.facts.get("started", ""), _natural(run.facts["folder"])))


def _identity(folder: str) -> tuple[int, int] | str:
    """Return what two paths of one folder share; where there is no folder, the path."""
    try:
        found = os.stat(folder)  # noqa: PTH116
    except OSError:
        return folder
    return found.st_dev, found.st_ino


def _walk(top: str) -> Iterator[RunRecord]:
    """Yield the runs in a folder; a loop, as folders may be nested deeper than Python's calls."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            yield _read(folder)
        except MissingRecordError:
            inside, why = _inside(folder)
            waiting += inside
            if why:
                yield _damaged(folder, why)
        except RecordError as error:
            yield _damaged(folder, error.reason)


def _inside(folder: str) -> tuple[list[str], str | None]:
    """Return the folders inside one that holds no run, and why there should be a run, if there should."""
    dated = DATED.search(os.path.abspath(folder))  # noqa: PTH100
    if dated and dated["job"]:
        return [], "no run.json"
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError as error:
        return [], error.strerror or "unreadable"
    # no links: they would show a run twice, or lead in circles
    inside = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."]
    if dated:
        inside = [name for name in inside if name.isdecimal()]  # the jobs of a sweep
    is_sweep = inside or any(entry.name == "multirun.yaml" for entry in entries)
    why = "no run.json" if dated and not is_sweep else None
    return [os.path.join(folder, name) for name in inside], why  # noqa: PTH118


def _read(folder: str) -> RunRecord:
    record = read_run_json(folder)
    is_dead = record["status"] == "running" and _has_no_process(folder, record)
    if is_dead and read_run_json(folder) != record:  # the run has ended meanwhile and recorded how
        return _read(folder)
    facts = {"folder": folder, **{name: record[name] for name in FACTS if record.get(name) is not None}}
    facts |= {"status": "dead"} if is_dead else {}
    evaluated, warning = dict[str, float](), None
    try:
        evaluated = _evaluation(folder, record)
    except UserError as error:
        warning = str(error)
    measured = evaluated | _numbers(record.get("metrics"))
    if last := record.get("last_metrics"):
        measured |= {LAST + name: number for name, number in _numbers(last).items()}
    lower = record.get("lower_is_better")
    directions = LOSSES if lower is None else frozenset(lower)
    return RunRecord(facts, record.get("settings", {}), record.get("composed", {}), measured, directions, warning)


def _damaged(folder: str, why: str) -> RunRecord:
    return RunRecord({"folder": folder, "status": "damaged", "error": why})


def _evaluation(folder: str, record: dict[str, Any]) -> dict[str, float]:
    """Return what evaluate.py measured, named as in run.json; nothing if it is older than the run.

    The metrics of last.ckpt begin with `last_`; those of a checkpoint that is neither this nor the best are left out.
    Raises a UserError if the file is damaged.
    """
    found = read_evaluation(folder)
    if found is None:
        return {}
    metrics, checkpoint, ended = measured(found), found.get("checkpoint", ""), record.get("ended")
    with suppress(OSError, ValueError, OverflowError):  # no date, or none that a clock can show
        written = os.stat(os.path.join(folder, EVALUATION)).st_mtime  # noqa: PTH116, PTH118
        if ended and datetime.fromisoformat(ended).timestamp() > written + 1:  # resumed since
            return {}
    tested = record.get("best_checkpoint") or ""
    if checkpoint.endswith(tested):
        return metrics
    is_last = os.path.basename(checkpoint) == "last.ckpt"  # noqa: PTH119
    return {LAST + name: number for name, number in metrics.items()} if is_last else {}


def read_evaluation(folder: str) -> dict[str, Any] | None:
    """Return the content of evaluation.json, None if there is no such file. Raises a UserError if it is damaged."""
    path = os.path.join(folder, EVALUATION)  # noqa: PTH118
    try:
        found = read_json(path, MOST_BYTES)
        wrong = wrong_entry(found, fields.EVALUATION) if isinstance(found, dict) else "it is no mapping"
    except FileNotFoundError:
        return None
    except (OSError, DamagedFileError) as error:
        wrong = getattr(error, "strerror", None) or f"it {error}"
    if wrong:
        raise UserError(f"{path} is damaged, {wrong}: measure again, python src/evaluate.py run={folder}")
    return found


def measured(evaluation: dict[str, Any]) -> dict[str, float]:
    """Return the metrics in the content of evaluation.json, with those at several sizes of the sets, of classes etc."""
    parts = evaluation, *(evaluation.get(name, {}) for name in PARTS)
    return {name: number for part in parts for name, number in _numbers(part).items() if name not in COUNTS}


def with_errors(run: RunRecord) -> RunRecord:
    """Return the run with test_error = 1 - test_accuracy beside it, and the like for each accuracy."""
    found = [(ACCURACY.fullmatch(name), value) for name, value in run.metrics.items()]
    errors = {f"{name['stage']}error{name['of'] or ''}": 1 - value for name, value in found if name}
    return replace(run, metrics=errors | run.metrics)


def plain_name(metric: str) -> str:
    """Return test_accuracy for test_accuracy/n=1-64."""
    mixed = MIXED.fullmatch(metric)
    return mixed["metric"] if mixed else metric


def known_as(metric: str, measured: Iterable[str]) -> str:
    """Return the name in `measured` of a metric: test_accuracy, or test_accuracy/n=1-64 if that alone was measured."""
    names = {plain_name(name): name for name in measured if MIXED.fullmatch(name)} | {name: name for name in measured}
    return names.get(metric, metric)


def main_metric(runs: Sequence[RunRecord]) -> str:
    """Return test_accuracy if a run has it, else the metric that most runs watch, of the test if this has it."""
    measured = {name for run in runs for name in run.metrics}
    if (accuracy := known_as("test_accuracy", measured)) in measured:
        return accuracy
    watched = Counter(name for run in runs if isinstance(name := run.value("hparams.monitor"), str))
    for name, _ in watched.most_common():
        stage = re.sub("^(train|valid)_", "test_", name)
        for known in (known_as(stage, measured), known_as(name, measured)):
            if known in measured:
                return known
    return accuracy


def _numbers(metrics: Any) -> dict[str, float]:
    found = metrics if isinstance(metrics, dict) else {}
    return {name: number for name, value in found.items() if (number := _number(value)) is not None}


def _number(value: Any) -> float | None:
    """Return a metric as a number; run.json holds NaN and infinity as text. Anything else is no metric."""
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None


def _has_no_process(folder: str, record: dict[str, Any]) -> bool:
    """Return whether the run's process has vanished (SIGKILL, out of memory, power): a running one holds a lock."""
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
    except OSError:  # the run holds it; or the file system has no locks
        return False
    finally:
        os.close(handle)


def _natural(path: str) -> list[tuple[int, str]]:
    """Return a sort key that puts job 10 after job 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in path.split("/")]
