"""The entries of run.json that anything reads: name, type, size. A record with a wrong one is refused by its name.

Entries that are not listed are allowed, since older and newer versions write others, and any of these may be missing.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from run.data_file import DIGITS

LONG = 10_000  # characters of a name, a comment, a path
LONGER = 4_000_000  # of a command, which may list files, and of an error
MANY = 1_000_000  # entries of a list or mapping, such as the names of classes
LARGEST = 2**63  # of counts
NOT_FINITE = ("nan", "inf", "-inf")  # as process/files.py writes these numbers
HUGE = 10**DIGITS  # of settings: a float holds less than 10^308


class Kind(NamedTuple):
    """A type and size in words, and the test of a value."""

    words: str
    test: Callable[[Any], bool]

    def or_null(self) -> "Kind":
        test = self.test
        return Kind(f"{self.words}, or null", lambda value: value is None or test(value))


def one_of(*texts: str) -> Kind:
    return Kind(f"one of {', '.join(texts)}", lambda value: type(value) is str and value in texts)


def text(most: int) -> Kind:
    words = f"a text of at most {most:,} characters"
    return Kind(words, lambda value: type(value) is str and len(value) <= most)


def list_of(kind: Kind) -> Kind:
    test = kind.test
    words = f"a list, of which each entry is {kind.words}"
    return Kind(words, lambda value: type(value) is list and len(value) <= MANY and all(map(test, value)))


def list_of_texts(most: int) -> Kind:
    """Return list_of(text(most)), tested without a call per entry: a run may have thousands of classes."""
    words = list_of(text(most)).words

    def accepts(value: Any) -> bool:
        if type(value) is not list or len(value) > MANY or not {*map(type, value)} <= {str}:
            return False
        return max(map(len, value), default=0) <= most

    return Kind(words, accepts)


def mapping_of(kind: Kind) -> Kind:
    """Return the kind of a mapping of which all values are of one kind."""
    test = kind.test

    def accepts(value: Any) -> bool:
        if type(value) is not dict or len(value) > MANY or not all(map(test, value.values())):
            return False
        try:
            return max(map(len, value), default=0) <= 2 * LONG
        except TypeError:  # a name in a checkpoint may be anything
            return False

    return Kind(f"a mapping, of which each value is {kind.words}", accepts)


def mapping_with(kinds: dict[str, Kind], needed: Iterable[str] = ()) -> Kind:
    """Return the kind of a mapping with these entries; those not `needed` may be missing, and others are allowed."""
    words = f"a mapping with {', '.join(kinds)}, each of its type"

    def accepts(value: Any) -> bool:
        return type(value) is dict and all(name in value for name in needed) and wrong_entry(value, kinds) is None

    return Kind(words, accepts)


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and -HUGE < value < HUGE)


def _is_setting(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return len(value) <= LONGER
    if kind is list or kind is dict:
        return len(value) <= MANY and all(map(_is_setting, value if kind is list else value.values()))
    return value is None or kind is bool or _is_number(value)


NAME, TEXT, NAMES = text(LONG), text(LONGER), list_of_texts(LONG)
COUNT = Kind(f"a whole number from 0 to {LARGEST:,}", lambda value: type(value) is int and 0 <= value <= LARGEST)
FLAG = Kind("true or false", lambda value: type(value) is bool)
NUMBER = Kind("a number", _is_number)
SECONDS = Kind("a number >= 0", lambda value: _is_number(value) and 0 <= value < math.inf)
SCORE = Kind(
    "a number, nan, inf or -inf", lambda value: _is_number(value) or (type(value) is str and value in NOT_FINITE)
)
SCORES = mapping_of(SCORE.or_null())  # null: a class without images has no accuracy
SETTING = Kind("a text, a number, true, false, null, or a list or mapping of them", _is_setting)
SETTINGS = mapping_of(SETTING)
# Hydra reads the comment 5 as a number
COMMENT = Kind("a text or a number", lambda value: NAME.test(value) or NUMBER.test(value)).or_null()
GIT = mapping_with({"commit": NAME, "dirty": FLAG}).or_null()
START = {  # of the run, and of each time that it was resumed
    "started": NAME,
    "command": TEXT,
    "git": GIT,
    "host": NAME,
    "pid": COUNT,
    "versions": mapping_of(NAME.or_null()),
    "gpus": NAMES,
    "changes": mapping_of(list_of(SETTING)),
    "other_code": NAMES,
}
RUN = {
    **START,
    "status": one_of("running", "finished", "failed", "interrupted"),
    "id": NAME,
    "sweep": NAME.or_null(),
    "python": NAME,
    "ended": NAME.or_null(),
    "seconds": SECONDS.or_null(),
    "experiment_name": NAME,
    "comment": COMMENT,
    "tags": NAMES,
    "settings": SETTINGS,
    "composed": SETTINGS,
    "seed": COUNT,
    "debug": FLAG,
    "data": SETTINGS,
    "class_names": NAMES.or_null(),
    "lower_is_better": NAMES,
    "parameters": COUNT,
    "device": NAME,
    "lr": SETTING,
    "stopped_early": TEXT.or_null(),
    "best_checkpoint": NAME.or_null(),
    "best_epoch": COUNT.or_null(),
    "best_score": SCORE.or_null(),
    "metrics": SCORES,
    "last_metrics": SCORES,
    "training": mapping_of(NUMBER),
    "error": TEXT,
    "resumed": list_of(mapping_with(START)),
}
SWEEP = {**START, "arguments": list_of(TEXT), "resumed": list_of(mapping_with(START))}
EVALUATION = {
    "checkpoint": NAME,
    "images": COUNT,
    "nan_images": COUNT,
    "sets": COUNT,
    "nan_sets": COUNT,
    "per_class": SCORES,
    "per_label": SCORES,
    "per_count": SCORES,
    "per_component": SCORES,
    "sizes": SCORES,
    "confusion_matrix": Kind("a list", lambda value: type(value) is list),
}


def wrong_entry(record: dict[str, Any], kinds: dict[str, Kind]) -> str | None:
    """Return the first entry of another kind, in words: `seconds must be a number`."""
    for name, value in record.items():
        kind = kinds.get(name)
        if kind is not None and not kind.test(value):
            return f"{name} must be {kind.words}"
    return None
