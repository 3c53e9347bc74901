"""The metrics of validation and test, by their names: `metrics=[accuracy,top_5,f1]`."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torchmetrics.classification
from torchmetrics import Metric

from run.hints import first_line, nearest
from run.metric_names import Choice, choices

PREFIX = "Multiclass"
KNOWN = [name.removeprefix(PREFIX) for name in dir(torchmetrics.classification) if name.startswith(PREFIX)]


def build(names: Sequence[str | Mapping[str, Mapping[str, Any]]], num_classes: int) -> dict[str, Metric]:
    """{name in results: metric of probabilities [B, num_classes] and labels [B]}.

    Raises a ValueError for an unknown name, arguments that do not fit, and a metric that is not one number.
    """
    return {choice.name: _build(choice, num_classes) for choice in choices(names)}


def _build(choice: Choice, num_classes: int) -> Metric:
    if choice.kind not in KNOWN:
        close = nearest(choice.kind, KNOWN)
        hint = f"did you mean {close}?" if close else f"there are {', '.join(KNOWN)}"
        raise ValueError(f"{choice.written}: torchmetrics.classification has no such metric of several classes; {hint}")
    if choice.arguments.get("top_k", 1) >= max(num_classes, 2):  # always right
        remedy = f"choose top_{num_classes - 1} or less" if num_classes > 2 else "leave it out"
        raise ValueError(f"{choice.written}: there are {num_classes} classes: {remedy}")
    try:
        kind = getattr(torchmetrics.classification, PREFIX + choice.kind)
        metric: Metric = kind(num_classes=num_classes, **choice.arguments)
        shape = _shape_of_result(metric, num_classes)
    except Exception as error:  # each class refuses in its own way
        raise ValueError(
            f"{choice.written}: {first_line(error)}; arguments are given as {{{choice.written}: {{argument: value}}}}"
        ) from error
    if shape != ():
        raise ValueError(
            f"{choice.written}: gives {'several results' if shape is None else f'numbers of shape {list(shape)}'} "
            "instead of one number, and so is no curve of a training: choose another, or an average"
        )
    return metric


def _shape_of_result(metric: Metric, num_classes: int) -> tuple[int, ...] | None:
    """Of two images, one right; None where it is not a tensor."""
    probabilities_BK = torch.full((2, num_classes), 1 / num_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes without an image
        metric.update(probabilities_BK, torch.tensor([0, num_classes - 1]))
        result = metric.compute()
    metric.reset()
    return tuple(result.shape) if isinstance(result, torch.Tensor) else None
