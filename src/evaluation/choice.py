"""The runs that `run=` of evaluate.py stands for: a run folder, a sweep, a list, or what report.py would find."""

import re
import shlex
from collections import Counter
from pathlib import Path

from process.errors import UserError
from run import sweep_record
from table.collect import RunRecord, read_runs
from table.query import WORD, is_folder, parse, select, why_none

SYNTAX = "name run folders, sweeps, or filters as report.py takes them: run='multirun/Default data=MNIST'"


def chosen_runs(argv: list[str]) -> list[RunRecord] | None:
    """Return the runs that `run=` stands for, the newest last; None if it is missing or names one run folder.

    run=SWEEP, run=[FOLDER,FOLDER], run='FOLDER ... FILTER ...': the finished runs in the folders that pass the filters
    of report.py. A run whose own folder is named, and those that a filter `status=...` chooses, need not have finished.
    Raises a UserError if there is none.
    """
    values = [word.removeprefix("run=") for word in argv if word.startswith("run=")]
    if not values or (len(values) == 1 and _names_one(values[0])):
        return None
    words = [word for value in values for word in _words(value)]
    query = parse(words)
    if query.all or query.group or query.sort or query.top or query.outputs:
        raise UserError(f"run={' '.join(values)}: {SYNTAX}; options of report.py have no effect here")
    found = read_runs(query.folders or [folder for folder in ("outputs", "multirun") if Path(folder).is_dir()])
    selected = select(found, query)
    if any(each.name == "status" for each in query.filters):
        runs = selected
    else:
        named = set(query.folders)
        runs = [run for run in selected if run.facts["folder"] in named or _is_result(run)]
    if not runs:
        statuses = Counter(run.no_result or run.facts["status"] for run in selected)
        others = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
        why = f"none of its runs has finished ({others})" if selected else why_none(found, query) or "it holds no run"
        raise UserError(f"run={' '.join(values)}: {why}; {SYNTAX}")
    return runs


def _is_result(run: RunRecord) -> bool:
    return run.facts["status"] == "finished" and not run.no_result


def _names_one(value: str) -> bool:
    """Return whether the value is the folder of one run, or a path at which there is nothing."""
    folder = Path(value)
    if value and is_folder(value):
        has_run = (folder / "run.json").is_file() or (folder / "source" / "config").is_dir()
        return has_run and not (folder / sweep_record.NAME).is_file()
    return not re.search(r"[\s\[]", value) and WORD.fullmatch(value) is None


def _words(value: str) -> list[str]:
    if is_folder(value):
        return [value]
    if value.startswith("[") and value.endswith("]"):
        return [word.strip().strip("'\"") for word in value[1:-1].split(",") if word.strip()]
    try:
        return shlex.split(value)
    except ValueError as error:  # a quote that is not closed
        raise UserError(f"run={value}: {error}; {SYNTAX}") from error
