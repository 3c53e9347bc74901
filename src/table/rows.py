"""The rows of a table of runs: settings that differ, means over seeds and folds, the order by a metric."""

import fnmatch
import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from settings import find, result_name
from table.collect import LAST, RunRecord, known_as, main_metric, plain_name
from table.query import as_text

NAMED_ELSEWHERE = ("comment", "experiment_name")  # in columns of their own, and in the folder's name
METRIC_ORDER = ("test_", "valid_", "train_")
ERRORS = [f"{stage}error" for stage in METRIC_ORDER]  # computed from the accuracy, see `collect.with_errors`
AT_SIZE = re.compile(r"(?P<metric>.*)/n=(?P<n>[1-9][0-9]{0,8})", re.DOTALL)  # a metric at a number of patches
FOLD = "data.fold"


@dataclass(frozen=True)
class Spread:
    """A metric of several runs that differ only in seeds and folds."""

    values: tuple[float, ...]

    @cached_property
    def mean(self) -> float:
        return mean(self.values)

    @cached_property
    def std(self) -> float | None:
        """The standard deviation of a sample (n - 1); None for a single run."""
        if len(self.values) < 2:
            return None
        if not all(map(math.isfinite, self.values)):
            return math.nan
        try:  # statistics.stdev takes 60x as long
            squares = math.fsum((value - self.mean) ** 2 for value in self.values)
        except OverflowError:  # the values differ by more than 1e154
            return math.inf
        return math.sqrt(squares / (len(self.values) - 1))


def mean(values: Sequence[float]) -> float:
    """Return the mean, NaN if the values hold both infinities; of numbers near 1e308 too, whose sum is no float."""
    try:
        return statistics.fmean(values)
    except (OverflowError, ValueError):
        return sum(value / len(values) for value in values)


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


Cell = str | int | float | Spread | Interval | None


@dataclass(frozen=True)
class Column:
    """A column of a table: `kind` is fact, setting, metric, p, or difference: a metric with its sign."""

    name: str
    kind: str
    essential: bool = False  # shown however narrow the terminal is
    numeric: bool = False  # aligned at the right


@dataclass
class Table:
    """A table of runs, one row per run or per group of runs."""

    columns: list[Column]
    rows: list[dict[str, Cell]]
    shared: dict[str, str]  # settings that are the same in all the runs
    statuses: Counter[str]  # of the runs
    ranking: str | None = None  # the metric by which the table is sorted, else the first one
    lower_is_better: frozenset[str] = frozenset()  # the metrics for which lower is better
    notes: list[str] = field(default_factory=list)  # what a reader has to know about the columns


def make_table(
    runs: list[RunRecord],
    group: bool = False,
    sort: str | None = None,
    reverse: bool = False,
    top: int | None = None,
    columns: Iterable[str] = (),
    asked: Iterable[str] = (),
) -> Table:
    """Make a table of runs.

    Args:
        runs: the runs to show; those of status `damaged` have no settings and metrics.
        group: one row for the runs that differ only in seeds and folds, instead of one row for each run.
        sort: the name of a column; by a metric, the best row comes first.
        reverse: reverses that order.
        top: keeps only that many rows.
        columns: the metrics and facts that are shown, with * and ?, in this order; else the default metrics.
        asked: names that are shown beside the default metrics.
    """
    whole = [run for run in runs if run.facts["status"] != "damaged"]
    measured = {name for run in whole for name in run.metrics}
    sort = sort and known_as(sort, measured)
    columns, asked = list(columns), {*asked, *([sort] if sort else [])}
    settings = _differing(whole, NAMED_ELSEWHERE)
    metrics = _chosen(measured, columns) if columns else _ordered(filter(_is_default, measured), sort)
    metrics += [name for name in _ordered(measured & asked, sort) if name not in metrics]
    if group:
        settings = [name for name in _differing(whole, ("comment",)) if not is_repeat(name)]
        facts = ["n", "over", "not counted"]
    else:
        facts = ["folder", "status"]
    shown = {*facts, *settings, *metrics, "comment", "best_epoch", "error"}
    facts += [
        name for name in dict.fromkeys([*columns, sort]) if name and name not in shown and not re.search("[*?]", name)
    ]
    if group:
        rows = [_group_row(members, settings, [*metrics, *facts]) for members in _groups(whole)]
    else:
        rows = [_run_row(run, settings, metrics, facts) for run in runs]
    lower = frozenset(name for name in metrics if is_lower_better(name, whole))
    if sort is not None:
        rows = _ranked(rows, sort, down=(sort in metrics and sort not in lower) != reverse)
    rows = rows[:top]
    ranking = next((name for name in (sort, main_metric(whole)) if name in metrics), next(iter(metrics), None))
    wanted = [
        *(Column(name, "fact", essential=True) for name in facts),
        *(Column(name, "setting") for name in settings),
        Column("comment", "fact"),
        *(Column(name, "metric", essential=name == ranking) for name in metrics),
        Column("best_epoch", "fact"),
        Column("error", "fact"),
    ]
    filled = []
    for column in wanted:
        cells = [cell for row in rows if (cell := row.get(column.name)) not in (None, "")]
        if cells:
            filled.append(replace(column, numeric=not any(isinstance(cell, str) for cell in cells)))
    return Table(filled, rows, _shared(whole), Counter(run.facts["status"] for run in runs), ranking, lower)


def sizes_of(metric: str, runs: list[RunRecord]) -> list[str]:
    """Return the names of the metric at sizes of the sets, test_accuracy/n=1 and so on, the smallest first."""
    names = {
        name for run in runs for name in run.metrics if name.startswith(f"{metric}/n=") and AT_SIZE.fullmatch(name)
    }
    return sorted(names, key=_size)


def row_labels(table: Table) -> tuple[str, list[str]]:
    """Return short labels of the rows, and what they are the values of: only the settings in which the rows differ."""
    texts = {c.name: [_text(row.get(c.name)) for row in table.rows] for c in table.columns}
    names = [c.name for c in table.columns if c.kind == "setting" or c.name in ("comment", "over")]
    names = [name for name in names if len(set(texts[name])) > 1]
    short = [name.rpartition(".")[2] for name in names]
    short = [each if short.count(each) == 1 else name for each, name in zip(short, names, strict=True)]
    if len(names) == 1:
        labels, title = [text or "default" for text in texts[names[0]]], short[0]
    else:
        columns = [
            [f"{each}={text}" if text else "" for text in texts[name]] for each, name in zip(short, names, strict=True)
        ]
        labels, title = [" ".join(filter(None, parts)) for parts in zip(*columns, strict=True)], ""
    if not labels:
        labels = [""] * len(table.rows)
    if "folder" in texts:  # not groups, whose labels differ
        labels = [
            label if label and labels.count(label) == 1 else f"{label} {short_folder(folder)}".strip()
            for label, folder in zip(labels, texts["folder"], strict=True)
        ]
    return title, [label or "all runs" for label in labels]


def short_folder(folder: str) -> str:
    """Return the end of a run's folder: date, time, the number of a sweep's job."""
    parts = folder.split("/")
    return " ".join(parts[-3:] if parts[-1].isdecimal() else parts[-2:])


def _text(cell: Cell) -> str:
    return "" if cell is None else as_text(cell)


def is_repeat(setting: str) -> bool:
    """Return whether runs that differ only in this setting repeat one another."""
    return find(setting).repeats


def repeat_of(run: RunRecord) -> tuple[str, ...]:
    """Return the seeds and the fold of a run, by which it is one of the repetitions of its other settings."""
    return tuple(
        f"{name}={as_text(value)}" for name, value in sorted(run.known.items()) if is_repeat(name) and value is not None
    )


def is_lower_better(metric: str, runs: list[RunRecord]) -> bool:
    """Return whether lower values of this result are better, as the records of the runs say; of losses and errors."""
    name = result_name(metric.removeprefix(LAST))
    return re.search(r"(^|_)(loss|error)$", name) is not None or any(name in run.lower_is_better for run in runs)


def _is_default(metric: str) -> bool:
    """Return whether a metric is shown unasked: not one of a size, of a class, of the last epoch, nor an error rate."""
    name = plain_name(metric)
    return not ("/" in name or name.startswith(LAST) or name in ERRORS)


def _differing(runs: list[RunRecord], without: Iterable[str]) -> list[str]:
    """Return the settings that were set in some run and differ between runs, the most often set first."""
    counts = Counter(name for run in runs for name in run.settings if name not in without)
    names = [name for name, _ in counts.most_common()]
    values: dict[str, set[str]] = {name: set() for name in names}
    for run in runs:
        known = run.known
        for name in names:
            values[name].add(as_text(known[name]) if name in known else "")
    return [name for name in names if len(values[name]) > 1]


def _shared(runs: list[RunRecord]) -> dict[str, str]:
    """Return the settings that were set to the same value in all runs."""
    texts = [{name: as_text(value) for name, value in run.settings.items()} for run in runs]
    same = set.intersection(*(set(each.items()) for each in texts)) if texts else set()
    return {name: text for name, text in texts[0].items() if (name, text) in same} if texts else {}


def _chosen(metrics: set[str], patterns: list[str]) -> list[str]:
    found = [sorted(fnmatch.filter(metrics, each.replace("[", "[[]")), key=_size) for each in patterns]
    return list(dict.fromkeys(name for names in found for name in names))


def _ordered(metrics: Iterable[str], first: str | None) -> list[str]:
    def place(name: str) -> tuple[bool, int, tuple[str, int]]:
        parts = [index for index, prefix in enumerate(METRIC_ORDER) if name.startswith(prefix)]
        return name != first, parts[0] if parts else len(METRIC_ORDER), _size(name)

    return sorted(metrics, key=place)


def _size(metric: str) -> tuple[str, int]:
    """Return a sort key that puts n=4 before n=16."""
    found = AT_SIZE.fullmatch(metric)
    return (found["metric"], int(found["n"])) if found else (metric, 0)


def _run_row(run: RunRecord, settings: list[str], metrics: list[str], facts: list[str]) -> dict[str, Cell]:
    row = _settings_row(run, settings)
    row |= {name: run.metrics[name] for name in metrics if name in run.metrics}
    row |= {name: _fact(run.facts.get(name)) for name in ("folder", "status", "comment", "best_epoch", "error")}
    return row | {name: _fact(run.value(name)) for name in facts if name not in row}


def _settings_row(run: RunRecord, settings: list[str]) -> dict[str, Cell]:
    return {
        name: value if _is_number(value) else as_text(value) for name, value in run.known.items() if name in settings
    }


def _fact(value: Any) -> Cell:
    return value if value is None or _is_number(value) else as_text(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _groups(runs: list[RunRecord]) -> Iterable[list[RunRecord]]:
    """Return groups of runs whose settings differ only in seeds and fold.

    Runs on a fold and runs on none are never in one group: they train on different images.
    """
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        same = {name: value for name, value in run.known.items() if not is_repeat(name)}
        same[FOLD] = run.known.get(FOLD) is not None
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(run)
    return groups.values()


def _over(runs: list[RunRecord]) -> str:
    """Return `5 folds, 3 seeds`; nothing for runs without folds, where the column `n` counts the seeds."""
    folds = {run.known.get(FOLD) for run in runs} - {None}
    if not folds:
        return ""
    seeds = {
        json.dumps({name: run.known[name] for name in sorted(run.known) if is_repeat(name) and name != FOLD})
        for run in runs
    }
    words = [f"{len(folds)} fold{'s' * (len(folds) > 1)}", *([f"{len(seeds)} seeds"] if len(seeds) > 1 else [])]
    return ", ".join(words)


def _group_row(members: list[RunRecord], settings: list[str], averaged: list[str]) -> dict[str, Cell]:
    """Return the row of a group. Only finished runs count: the metrics of the others are no results yet.

    Of several runs with the same seeds and fold the newest counts: a repetition would make n larger and std smaller.
    """
    all_finished = [run for run in members if run.facts["status"] == "finished"]
    others = Counter(run.facts["status"] for run in members if run.facts["status"] != "finished")
    newest = {repeat_of(run) or number: run for number, run in enumerate(all_finished)}
    finished = list(newest.values())
    others += Counter({"repeated": len(all_finished) - len(finished)})
    row = _settings_row(members[0], settings)
    row |= {"n": len(finished), "comment": _fact(members[0].facts.get("comment"))}
    row["over"] = _over(finished)
    row["not counted"] = ", ".join(f"{count} {status}" for status, count in others.items())
    return row | {name: _averaged([run.value(name) for run in finished]) for name in averaged if name not in row}


def _averaged(values: list[Any]) -> Cell:
    if numbers := tuple(float(value) for value in values if _is_number(value)):
        return Spread(numbers)
    return _fact(values[0]) if values else None


def _ranked(rows: list[dict[str, Cell]], name: str, down: bool) -> list[dict[str, Cell]]:
    """Return the rows sorted by a column; rows without a value, or with NaN, come last."""

    def place(row: dict[str, Cell]) -> tuple[bool, Any] | None:
        cell = row.get(name)
        value = cell.mean if isinstance(cell, Spread) else cell
        return None if value is None or value != value else (isinstance(value, str), value)

    there = [row for row in rows if place(row) is not None]
    return sorted(there, key=place, reverse=down) + [row for row in rows if place(row) is None]  # type: ignore[arg-type]
