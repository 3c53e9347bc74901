"""The arguments of report.py, `key=value` words: which folders and runs, which columns and order, into which files."""

import fnmatch
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from process.errors import UserError, nearest
from table.collect import FACTS, RunRecord, known_as

# a metric at a number of patches or of a class has a `=` in its name: test_accuracy/n=16, test_accuracy/class=cat
WORD = re.compile(
    r"(?P<name>[^=<>!/]+/(?:n|class)=[^=<>!]+|[^=<>!]+)(?P<operator>!=|>=|<=|=|>|<)(?P<value>.*)", re.DOTALL
)
OPTIONS = ("all", "group", "sort", "top", "columns", "curve", "compare", "reference", "output")
TEXTS, FIGURES = (".csv", ".md", ".tex"), (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Filter:
    """A condition on runs: `data=MNIST`, `comment=*warm*`, `hparams.lr!=0.1`, `test_accuracy>0.9`."""

    name: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{self.value}"

    def accepts(self, run: RunRecord) -> bool:
        """Return whether the run fulfils the condition. Raises a UserError for a text where a number is needed."""
        actual = run.value(self.name)
        if self.operator in ("=", "!="):
            return _matches(actual, self.value) == (self.operator == "=")
        if actual is None or isinstance(actual, bool | list | dict):
            return False
        left: Any = actual
        right: Any = self.value if isinstance(actual, str) else as_number(self.value)  # started>2026-11-20
        if right is None:
            raise UserError(f"{self}: {self.name} is a number, and {self.value!r} is none")
        larger, equal = left > right, left == right
        return {">": larger, "<": left < right, ">=": larger or equal, "<=": left < right or equal}[self.operator]


@dataclass
class Query:
    """A parsed request for a report."""

    folders: list[str] = field(default_factory=list)
    filters: list[Filter] = field(default_factory=list)
    all: bool = False
    group: bool = False
    sort: str | None = None
    reverse: bool = False
    top: int | None = None
    columns: list[str] = field(default_factory=list)
    curve: bool = False
    compare: list[str] = field(default_factory=list)
    reference: str | None = None
    outputs: list[Path] = field(default_factory=list)


def parse(words: list[str]) -> Query:
    """Parse the words of the command line. Raises a UserError for the first that is not understood."""
    query = Query()
    for word in words:
        if not word:
            raise UserError("one of the words is empty: leave it out (is a variable of the shell empty?)")
        found = WORD.fullmatch(word)
        if is_folder(word):  # first: a folder's name may contain a `=` from a comment
            query.folders.append(word)
        elif word.startswith("-"):
            raise UserError(f"{word}: no such option; --help lists the options")
        elif found is None:
            quotes = "; a comparison needs quotes: 'test_accuracy>0.9'" if "/" not in word else ""
            raise UserError(f"{word}: no such folder{quotes}")
        elif found["operator"] == "=" and found["name"] in OPTIONS:
            _set_option(query, found["name"], found["value"])
        else:
            query.filters.append(Filter(*found.group("name", "operator", "value")))
    if query.reference is not None and not query.compare:
        raise UserError(f"reference={query.reference}: a value of the setting of compare=SETTING, which is missing")
    if query.compare and (query.curve or query.group):
        raise UserError(f"compare= pairs single runs: leave out {'curve=n' if query.curve else 'group=true'}")
    for path in query.outputs:
        if query.compare and path.suffix in FIGURES:
            raise UserError(f"output={path}: compare= makes a table: choose {', '.join(TEXTS)}")
    return query


def is_folder(word: str) -> bool:
    return os.path.isdir(word)  # noqa: PTH112 - Path raises for a name that is too long


def _set_option(query: Query, name: str, value: str) -> None:
    match name:
        case "sort":
            query.sort, query.reverse = value.removeprefix("-"), value.startswith("-")
        case "top":
            if not value.isdecimal() or int(value) == 0:
                raise UserError(f"top={value}: must be a whole number >= 1")
            query.top = int(value)
        case "output":
            if Path(value).suffix not in (*TEXTS, *FIGURES):
                raise UserError(f"output={value}: the ending must be one of {', '.join((*TEXTS, *FIGURES))}")
            query.outputs.append(Path(value))
        case "columns" | "compare":
            getattr(query, name).extend(filter(None, value.split(",")))
        case "curve":
            if value != "n":
                raise UserError(f"curve={value}: must be n, the number of patches")
            query.curve = True
        case "reference":
            query.reference = value
        case _:  # all, group
            if value.lower() not in ("true", "false"):
                raise UserError(f"{name}={value}: must be true or false")
            setattr(query, name, value.lower() == "true")


def select(runs: list[RunRecord], query: Query) -> list[RunRecord]:
    """Return the runs that all filters accept. Raises a UserError for a name that no run knows."""
    known = dict.fromkeys(("folder", *FACTS))
    for run in runs:
        known |= dict.fromkeys((*run.known, *run.metrics))
    asked = [(each.name, [*known, *OPTIONS]) for each in query.filters]
    asked += [(name, [*known]) for name in (*query.columns, *query.compare)]
    asked += [(known_as(query.sort, known), [*known])] if query.sort else []
    for name, words in asked:
        if runs and name not in known and not any(fnmatch.fnmatchcase(each, name) for each in known):
            close = nearest(name, words)
            raise UserError(
                f"{name}: no run has such a setting or metric"
                + (f"; did you mean {close}?" if close else f" (there are {', '.join(sorted(known))})")
            )
    return [run for run in runs if all(each.accepts(run) for each in query.filters)]


def needs_errors(query: Query) -> bool:
    """Return whether an error rate is asked for: it is computed from the accuracy."""
    asked = (query.sort or "", *query.columns, *(each.name for each in query.filters))
    return any("_error" in name for name in asked)


def describe_hidden(hidden: list[RunRecord]) -> str:
    """Return a line such as `2 debug runs and 1 refused run are hidden: all=true shows them`."""
    counts = Counter(str(run.no_result) for run in hidden)
    parts = [f"{count} {kind} run{'s' * (count > 1)}" for kind, count in sorted(counts.items())]
    is_one = len(hidden) == 1
    return f"{' and '.join(parts)} {'is' if is_one else 'are'} hidden: all=true shows {'it' if is_one else 'them'}"


def why_none(runs: list[RunRecord], query: Query) -> str | None:
    """Return the values that exist, for the first filter that no run passes: data=mnist -> MNIST, digits."""
    for each in query.filters:
        if not any(each.accepts(run) for run in runs):
            values = sorted({as_text(run.value(each.name)) for run in runs if run.value(each.name) is not None})
            shown = ", ".join(values[:10]) + (", ..." if len(values) > 10 else "")
            return f"no run has {each}: there {'is' if len(values) == 1 else 'are'} {shown}"
    return None


def as_text(value: Any) -> str:
    """Return a value as it is written on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(as_text, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{as_text(item)}" for name, item in value.items()) + "}"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _matches(actual: Any, wanted: str) -> bool:
    if isinstance(actual, bool):
        return wanted.lower() == as_text(actual)
    if isinstance(actual, int | float) and as_number(wanted) == actual:  # 0.10 is 0.1
        return True
    # of fnmatch's special characters only * and ? count: [mean,max] is a list
    return fnmatch.fnmatchcase(as_text(actual), wanted.replace("[", "[[]"))
