"""The rows of a table of runs: settings that differ, means over seeds and folds, the order by a metric."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from settings import find, result_name
from table.collect import RunRecord
from table.query import as_text

NAMED_ELSEWHERE = ("comment", "experiment_name")  # in columns of their own, and in the folder's name
METRIC_ORDER = ("test_", "valid_", "train_")
FOLD = "data.fold"


@dataclass(frozen=True)
class Spread:
    """A metric of several runs that differ only in seeds and folds."""

    values: tuple[float, ...]

    @cached_property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @cached_property
    def std(self) -> float | None:
        """The standard deviation of a sample (n - 1); None for a single run."""
        if len(self.values) < 2:
            return None
        return statistics.stdev(self.values) if all(map(math.isfinite, self.values)) else math.nan


Cell = str | int | float | Spread | None


@dataclass(frozen=True)
class Column:
    """A column of a table: `kind` is fact, setting or metric."""

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
    lower_is_better: bool = False  # for the metric `ranking`

    @property
    def ranking(self) -> str | None:
        """The metric by which the table is sorted, else the first one."""
        return next((column.name for column in self.columns if column.kind == "metric"), None)


def make_table(
    runs: list[RunRecord], group: bool = False, sort: str | None = None, reverse: bool = False, top: int | None = None
) -> Table:
    """Make a table of runs.

    Args:
        runs: the runs to show; those of status `damaged` have no settings and metrics.
        group: one row for the runs that differ only in seeds and folds, instead of one row for each run.
        sort: the name of a column; by a metric, the best row comes first.
        reverse: reverses that order.
        top: keeps only that many rows.
    """
    whole = [run for run in runs if run.facts["status"] != "damaged"]
    settings = _differing(whole, NAMED_ELSEWHERE)
    metrics = _ordered({name for run in whole for name in run.metrics}, sort)
    if group:
        settings = [name for name in _differing(whole, ("comment",)) if not is_repeat(name)]
        rows = [_group_row(members, settings, metrics, sort) for members in _groups(whole)]
        facts = ["n", "over", "not counted"]
    else:
        rows = [_run_row(run, settings, metrics, sort) for run in runs]
        facts = ["folder", "status"]
    if sort is not None:
        best_is_high = sort in metrics and not is_lower_better(sort, whole)
        rows = _ranked(rows, sort, down=best_is_high != reverse)
        if sort not in (*facts, *settings, *metrics, "comment", "error"):
            facts.append(sort)
    rows = rows[:top]
    columns = [
        *(Column(name, "fact", essential=True) for name in facts),
        *(Column(name, "setting") for name in settings),
        Column("comment", "fact"),
        *(Column(name, "metric", essential=name == metrics[0]) for name in metrics),
        Column("best_epoch", "fact"),
        Column("error", "fact"),
    ]
    filled = []
    for column in columns:
        cells = [cell for row in rows if (cell := row.get(column.name)) not in (None, "")]
        if cells:
            filled.append(replace(column, numeric=not any(isinstance(cell, str) for cell in cells)))
    table = Table(filled, rows, _shared(whole), Counter(run.facts["status"] for run in runs))
    return replace(table, lower_is_better=table.ranking is not None and is_lower_better(table.ranking, whole))


def is_repeat(setting: str) -> bool:
    """Return whether runs that differ only in this setting repeat one another."""
    return find(setting).repeats


def is_lower_better(metric: str, runs: list[RunRecord]) -> bool:
    """Return whether lower values of this result are better, as the records of the runs say."""
    name = result_name(metric)
    return any(name in run.lower_is_better for run in runs)


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


def _ordered(metrics: set[str], first: str | None) -> list[str]:
    def place(name: str) -> tuple[bool, int, str]:
        parts = [index for index, prefix in enumerate(METRIC_ORDER) if name.startswith(prefix)]
        return name != first, parts[0] if parts else len(METRIC_ORDER), name

    return sorted(metrics, key=place)


def _run_row(run: RunRecord, settings: list[str], metrics: list[str], sort: str | None) -> dict[str, Cell]:
    row = _settings_row(run, settings)
    row |= {name: run.metrics[name] for name in metrics if name in run.metrics}
    row |= {name: _fact(run.facts.get(name)) for name in ("folder", "status", "comment", "best_epoch", "error")}
    if sort is not None and sort not in row:
        row[sort] = _fact(run.value(sort))
    return row


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


def _group_row(members: list[RunRecord], settings: list[str], metrics: list[str], sort: str | None) -> dict[str, Cell]:
    """Return the row of a group. Only finished runs count: the metrics of the others are no results yet."""
    finished = [run for run in members if run.facts["status"] == "finished"]
    others = Counter(run.facts["status"] for run in members if run.facts["status"] != "finished")
    row = _settings_row(members[0], settings)
    row |= {"n": len(finished), "comment": _fact(members[0].facts.get("comment"))}
    row["over"] = _over(finished)
    row["not counted"] = ", ".join(f"{count} {status}" for status, count in others.items())
    for name in [*metrics, sort]:
        values = [run.value(name) for run in finished] if name is not None and name not in row else []
        if numbers := tuple(float(value) for value in values if _is_number(value)):
            row[str(name)] = Spread(numbers)
        elif values:
            row[str(name)] = _fact(values[0])
    return row


def _ranked(rows: list[dict[str, Cell]], name: str, down: bool) -> list[dict[str, Cell]]:
    """Return the rows sorted by a column; rows without a value, or with NaN, come last."""

    def place(row: dict[str, Cell]) -> tuple[bool, Any] | None:
        cell = row.get(name)
        value = cell.mean if isinstance(cell, Spread) else cell
        return None if value is None or value != value else (isinstance(value, str), value)

    there = [row for row in rows if place(row) is not None]
    return sorted(there, key=place, reverse=down) + [row for row in rows if place(row) is None]  # type: ignore[arg-type]
