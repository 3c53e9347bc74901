"""Paired comparison of the values of a setting, over the seeds and folds that two values have in common."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from process.errors import UserError
from settings import find
from table.collect import RunRecord
from table.query import as_text
from table.rows import Cell, Column, Interval, Spread, Table, is_lower_better, is_repeat, mean, repeat_of

LEVEL = 0.95  # of the confidence intervals; a difference is shown if its corrected p is below 1 - LEVEL
FEWEST = 3  # pairs that can show a difference

Key = tuple[str, ...]


def compare(runs: list[RunRecord], names: list[str], metric: str, reference: str | None = None) -> Table:
    """Compare the values of settings by the differences of a metric between runs that differ in nothing else.

    A pair are two finished runs of the same seed, fold and other settings. Each value is compared with the reference:
    mean of the differences, its interval by Student's t, p of the paired t test, and Holm's correction of all p
    (Holm 1979, Scandinavian Journal of Statistics 6). Raises a UserError if there is nothing to compare.

    Args:
        names: the compared settings; of several, their combinations are compared.
        reference: the value with which the others are compared; None for the one with the best mean.
    """
    named = ",".join(names)
    if repeats := [name for name in names if is_repeat(name)]:
        remedy = "compare another setting; group=true shows the spread"
        raise UserError(f"compare={named}: pairs are formed over seeds and folds such as {repeats[0]}: {remedy}")
    finished = [run for run in runs if run.facts["status"] == "finished" and metric in run.metrics]
    if len({_values(run, names) for run in finished}) < 2:
        found = f"all have {named}={','.join(_values(finished[0], names))}" if finished else f"none has {metric}"
        raise UserError(f"compare={named}: of the finished runs {found}: train runs with other values")
    others = _others(finished, names)
    blocks: dict[Key, dict[Key, dict[Key, RunRecord]]] = {}  # other settings -> values -> seed and fold -> run
    replaced = 0
    for run in finished:  # the newest last
        same = blocks.setdefault(_values(run, others), {}).setdefault(_values(run, names), {})
        replaced += (repeat := repeat_of(run)) in same
        same[repeat] = run
    compared = {key: block for key, block in blocks.items() if len(block) > 1}
    differing = [name for k, name in enumerate(others) if len({key[k] for key in blocks}) > 1]
    if not compared:
        remedy = f"choose one value of each by filters, or compare={','.join([*names, *differing])}"
        raise UserError(f"compare={named}: no two runs differ in it alone, but in {', '.join(differing)} too: {remedy}")

    lower = is_lower_better(metric, finished)
    varied = [name for k, name in enumerate(others) if len({key[k] for key in compared}) > 1]
    rows: list[dict[str, Cell]] = []
    for key, block in compared.items():
        shared: dict[str, Cell] = {name: text for name, text in zip(others, key, strict=True) if name in varied}
        rows += [shared | row for row in _block_rows(block, names, metric, reference, lower)]
    if reference is not None and not any(row["result"] == "reference" for row in rows):
        there = sorted({",".join(value) for block in compared.values() for value in block})
        raise UserError(f"reference={reference}: no such value of {named}; there are {', '.join(there)}")
    tests = _judge(rows, lower)

    lone = sum(len(by_repeat) for key in blocks.keys() - compared.keys() for by_repeat in blocks[key].values())
    table = Table(_columns(names, varied, metric), rows, {}, Counter(run.facts["status"] for run in runs))
    table.ranking, table.lower_is_better = metric, frozenset({metric} if lower else ())
    table.notes = list(_notes(rows, metric, reference, tests, lone, differing, replaced))
    return table


def holm(p: Sequence[float]) -> list[float]:
    """Return the p values corrected for their number: the k-th smallest of m times m - k + 1, never decreasing."""
    corrected, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = largest
    return corrected


def paired(differences: Sequence[float]) -> tuple[Interval, float] | None:
    """Return the interval of the mean and p of the paired t test; None where there is no spread to judge by."""
    from scipy.special import stdtr, stdtrit  # a tenth of the start of scipy.stats

    n = len(differences)
    if n < 2 or not all(map(math.isfinite, differences)) or not math.isfinite(std := _std(differences)) or std == 0:
        return None
    center, error = mean(differences), std / math.sqrt(n)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * error
    return Interval(center - half, center + half), 2 * float(stdtr(n - 1, -abs(center) / error))


def _std(values: Sequence[float]) -> float:
    try:
        return statistics.stdev(values)
    except OverflowError:
        return math.inf


def _block_rows(
    block: dict[Key, dict[Key, RunRecord]], names: list[str], metric: str, reference: str | None, lower: bool
) -> list[dict[str, Cell]]:
    """Return a row per value, the best first: its difference from the reference, without a judgement."""
    means = {value: mean([run.metrics[metric] for run in runs.values()]) for value, runs in block.items()}
    order = sorted(means, key=lambda value: (math.isnan(means[value]), means[value] if lower else -means[value]))
    named = [value for value in order if reference is not None and ",".join(value) == reference]
    base = next(iter(named), None) if reference is not None else order[0]
    rows = []
    for value in order:
        runs = block[value]
        row: dict[str, Cell] = dict(zip(names, value, strict=True))
        row[metric] = Spread(tuple(run.metrics[metric] for run in runs.values()))
        row["n"], row["result"] = len(runs), "reference" if value == base else "no reference"
        if base not in (None, value):
            pairs = [
                (run.metrics[metric], block[base][repeat].metrics[metric])
                for repeat, run in runs.items()
                if repeat in block[base]
            ]
            differences = [own - other for own, other in pairs]
            row["n"], row["result"] = len(pairs), "none shown"
            row["difference"] = mean(differences) if differences else None
            if measured := paired(differences):
                row["95% interval"], row["p (Holm)"] = measured
        rows.append(row)
    return rows


def _judge(rows: list[dict[str, Cell]], lower: bool) -> int:
    """Correct the p values of all rows, say which differences are shown, and return how many were tested."""
    tested = [row for row in rows if "p (Holm)" in row]
    for row, p in zip(tested, holm([row["p (Holm)"] for row in tested]), strict=True):  # type: ignore[misc]
        row["p (Holm)"] = p
        if p < 1 - LEVEL and row["n"] >= FEWEST:  # type: ignore[operator]
            row["result"] = "worse" if (row["difference"] > 0) == lower else "better"  # type: ignore[operator]
    for row in rows:
        if row["result"] == "none shown" and row["n"] < FEWEST:  # type: ignore[operator]
            row["result"] = f"n < {FEWEST}"
    return len(tested)


def _columns(names: list[str], varied: list[str], metric: str) -> list[Column]:
    return [
        *(Column(name, "setting", essential=True) for name in [*varied, *names]),
        Column("n", "fact", essential=True, numeric=True),
        Column(metric, "metric", essential=True, numeric=True),
        Column("difference", "difference", essential=True, numeric=True),
        Column("95% interval", "difference", essential=True, numeric=True),
        Column("p (Holm)", "p", numeric=True),
        Column("result", "fact", essential=True),
    ]


def _notes(
    rows: list[dict[str, Cell]],
    metric: str,
    reference: str | None,
    tests: int,
    lone: int,
    differing: list[str],
    replaced: int,
) -> Iterable[str]:
    yield "difference: mean over n pairs with the same seed, fold and other settings; interval: Student's t"
    if tests:
        yield f"p: paired t test, with Holm's correction for {tests} comparison{'s' * (tests != 1)}"
    results = {row["result"] for row in rows}
    if "none shown" in results:
        yield f"none shown: no difference is shown, as p >= {1 - LEVEL:.2f} or all differences are equal"
    if (few := f"n < {FEWEST}") in results:
        yield f"{few}: too few pairs to show a difference; train with more seeds (hparams.seed)"
    if any(isinstance(cell := row[metric], Spread) and not math.isfinite(cell.mean) for row in rows):
        yield "nan: a run diverged; a value with such a run is not judged"
    if reference is None:
        yield "the reference is the best, which favours it: name it beforehand by reference=VALUE"
    if lone:
        verb = "differs" if len(differing) == 1 else "differ"
        yield f"{lone} run{'s' * (lone != 1)} without a partner, as {', '.join(differing)} {verb} too"
    if replaced:
        yield f"{replaced} run{'s' * (replaced != 1)} left out: a newer one has the same settings"


def _others(runs: list[RunRecord], names: list[str]) -> list[str]:
    """Return the settings that must be equal in a pair: those that all runs know, and those that were set in any.

    What only some parts have and nobody set, such as the patches of a network of patches, belongs to those parts.
    """
    known = set.intersection(*(set(run.known) for run in runs)) | {name for run in runs for name in run.settings}
    free = {name for name in known if is_repeat(name) or find(name).comparable}
    return sorted(known - free - set(names))


def _values(run: RunRecord, names: Iterable[str]) -> Key:
    known = run.known
    return tuple(as_text(known[name] if name in known else run.value(name)) for name in names)
