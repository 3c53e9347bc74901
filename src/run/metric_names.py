"""What may stand in `metrics=` and the names under which it is logged; known before torch is imported."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from run.hints import nearest

SHORT: dict[str, tuple[str, dict[str, Any]]] = {  # name -> Multiclass... of torchmetrics.classification, its arguments
    "accuracy": ("Accuracy", {"average": "micro"}),
    "f1": ("F1Score", {}),
    "precision": ("Precision", {}),
    "recall": ("Recall", {}),
    "auroc": ("AUROC", {}),
    "average_precision": ("AveragePrecision", {}),
    "calibration_error": ("CalibrationError", {}),
}


@dataclass(frozen=True)
class Choice:
    """One entry of `metrics=`: as written, the name in results, torchmetrics' class without `Multiclass`, arguments."""

    written: str
    name: str
    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)


def choices(entries: Sequence[str | Mapping[str, Mapping[str, Any]]]) -> list[Choice]:
    """Raise a ValueError for what cannot be a metric, and for two of one name."""
    found = [_choice(entry) for entry in entries]
    names = [choice.name for choice in found]
    for choice in found:
        if names.count(choice.name) > 1:
            raise ValueError(f"{choice.written}: there are two metrics {choice.name}: leave one of them out")
    return found


def names(entries: Sequence[str | Mapping[str, Mapping[str, Any]]]) -> list[str]:
    return [choice.name for choice in choices(entries)]


def _choice(entry: str | Mapping[str, Mapping[str, Any]]) -> Choice:
    if isinstance(entry, str):
        entry = {entry: {}}
    if (
        not isinstance(entry, Mapping)
        or len(entry) != 1
        or not all(isinstance(each, Mapping) for each in entry.values())
    ):
        raise ValueError(f"{entry}: write the name of a metric, or {{name: {{argument: value}}}}")
    ((written, arguments),) = entry.items()
    if top := re.fullmatch(r"top_([1-9]\d*)", written):
        return Choice(written, written, "Accuracy", {"average": "micro", "top_k": int(top[1]), **arguments})
    if written in SHORT:
        kind, own = SHORT[written]
        return Choice(written, written, kind, {**own, **arguments})
    if not written[:1].isupper():
        close = nearest(written, SHORT)
        hint = f"did you mean {close}?" if close else f"there are {', '.join(SHORT)}, top_5 and the like"
        raise ValueError(f"{written}: no such metric; {hint} (or a class of torchmetrics.classification: CohenKappa)")
    plain = written.removeprefix("Multiclass")
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain).lower()
    return Choice(written, snake, plain, dict(arguments))
