"""The metrics of validation and test, by their names: `metrics=[accuracy,top_5,f1]`.

The common ones and whether higher values are better are listed here, as importing torchmetrics takes seconds. A mean
over classes leaves out those without an image, which torchmetrics counts as 0 in some metrics.
"""

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from process.errors import first_line, nearest

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

log = logging.getLogger(__name__)

PREFIX = "Multiclass"
# name -> class of torchmetrics.classification without its prefix, arguments, whether higher values are better
SHORT: dict[str, tuple[str, dict[str, Any], bool]] = {
    "accuracy": ("Accuracy", {"average": "micro"}, True),
    "f1": ("F1Score", {}, True),
    "precision": ("Precision", {}, True),
    "recall": ("Recall", {}, True),
    "auroc": ("AUROC", {}, True),
    "average_precision": ("AveragePrecision", {}, True),
    "calibration_error": ("CalibrationError", {}, False),
}
NEED_OTHERS = ("AUROC", "Specificity")  # undefined for a class if there are no images of another one
DIRECTIONS = {kind: higher for kind, _, higher in SHORT.values()}  # known without torchmetrics


@dataclass(frozen=True)
class Choice:
    """Entry of `metrics=`: as written, its name in results, its torchmetrics class without PREFIX, its arguments."""

    written: str
    name: str
    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)


def choices(entries: Sequence[str | Mapping[str, Mapping[str, Any]]]) -> list[Choice]:
    """Parse the entries of `metrics=`. Raises ValueError for an invalid entry and for two of the same name."""
    found = [_choice(entry) for entry in entries]
    names = [choice.name for choice in found]
    for choice in found:
        if names.count(choice.name) > 1:
            raise ValueError(f"{choice.written}: there are two metrics {choice.name}: leave one of them out")
    return found


def names(entries: Sequence[str | Mapping[str, Mapping[str, Any]]]) -> list[str]:
    return [choice.name for choice in choices(entries)]


def higher_is_better(entries: Sequence[str | Mapping[str, Mapping[str, Any]]], name: str) -> bool | None:
    """Return whether higher values of the result `name` are better; None if neither direction is.

    Imports torchmetrics only for metrics that are not in SHORT. Raises ValueError for an unknown class.
    """
    choice = next((choice for choice in choices(entries) if choice.name == name), None)
    if choice is None:
        return name != "loss"  # train_accuracy is always measured
    if choice.kind in DIRECTIONS:
        return DIRECTIONS[choice.kind]
    higher: bool | None = _class(choice).higher_is_better
    return higher


def _choice(entry: str | Mapping[str, Mapping[str, Any]]) -> Choice:
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, Mapping) or len(entry) != 1 or not all(isinstance(v, Mapping) for v in entry.values()):
        raise ValueError(f"{entry}: write the name of a metric, or {{name: {{argument: value}}}}")
    ((written, arguments),) = entry.items()
    if top := re.fullmatch(r"top_([1-9]\d*)", written):
        return Choice(written, written, "Accuracy", {"average": "micro", "top_k": int(top[1]), **arguments})
    if written in SHORT:
        kind, own, _ = SHORT[written]
        return Choice(written, written, kind, {**own, **arguments})
    if not written[:1].isupper():
        close = nearest(written, SHORT)
        hint = f"did you mean {close}?" if close else f"there are {', '.join(SHORT)}, top_5 and the like"
        raise ValueError(f"{written}: no such metric; {hint} (or a class of torchmetrics.classification: CohenKappa)")
    plain = written.removeprefix(PREFIX)
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain).lower()
    return Choice(written, snake, plain, dict(arguments))


def build(names: Sequence[str | Mapping[str, Mapping[str, Any]]], num_classes: int) -> dict[str, "Metric"]:
    """Return {name in results: metric of probabilities [B, num_classes] and labels [B]}.

    Raises ValueError for an unknown name, wrong arguments, and a metric whose result is not one number.
    """
    return {choice.name: _build(choice, num_classes) for choice in choices(names)}


def _class(choice: Choice) -> Any:
    from torchmetrics import classification

    known = [name.removeprefix(PREFIX) for name in dir(classification) if name.startswith(PREFIX)]
    if choice.kind not in known:
        close = nearest(choice.kind, known)
        hint = f"did you mean {close}?" if close else f"there are {', '.join(known)}"
        raise ValueError(f"{choice.written}: torchmetrics.classification has no such metric of several classes; {hint}")
    return getattr(classification, PREFIX + choice.kind)


def _build(choice: Choice, num_classes: int) -> "Metric":
    kind = _class(choice)
    if choice.arguments.get("top_k", 1) >= max(num_classes, 2):  # always correct
        remedy = f"choose top_{num_classes - 1} or less" if num_classes > 2 else "leave it out"
        raise ValueError(f"{choice.written}: there are {num_classes} classes: {remedy}")
    try:
        metric: Metric = kind(num_classes=num_classes, **choice.arguments)
        average = getattr(metric, "average", None)
        if average in ("macro", "weighted"):
            arguments = {**choice.arguments, "num_classes": num_classes, "average": average}
            metric = _over_present_classes(kind)(choice, arguments)
        shape = _shape_of_result(metric, num_classes)
    except Exception as error:  # each class has its own exceptions
        raise ValueError(
            f"{choice.written}: {first_line(error)}; arguments are given as {{{choice.written}: {{argument: value}}}}"
        ) from error
    if shape != ():
        raise ValueError(
            f"{choice.written}: gives {'several results' if shape is None else f'numbers of shape {list(shape)}'} "
            "instead of one number, and so is no curve of a training: choose another, or an average"
        )
    return metric


def _over_present_classes(kind: Any) -> Any:
    """Return the metric class with a mean over the classes that have an image; NaN, and a line once, for no class.

    The area under the ROC curve and the specificity of a class also need an image of another class.
    """
    import torch

    class OverPresentClasses(kind):
        def __init__(self, choice: Choice, arguments: Mapping[str, Any]) -> None:
            super().__init__(**{**arguments, "average": "none"})
            self.choice, self.weighted, self.reported = choice, arguments["average"] == "weighted", False
            self.add_state("images_K", torch.zeros(arguments["num_classes"], dtype=torch.int64), dist_reduce_fx="sum")

        def update(self, probabilities_BK: "Tensor", labels_B: "Tensor") -> None:
            super().update(probabilities_BK, labels_B)
            counted_B = labels_B if self.ignore_index is None else labels_B[labels_B != self.ignore_index]
            self.images_K += _one_hot(counted_B, len(self.images_K)).sum(0)

        def compute(self) -> "Tensor":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about classes without an image
                values_K = super().compute()
            weight_K = self.images_K if self.weighted else self.images_K > 0
            if self.choice.kind in NEED_OTHERS:
                weight_K = weight_K * (self.images_K < self.images_K.sum())
            if not weight_K.any() and not self.reported:
                self.reported = True
                log.warning(f"{self.choice.name} is nan: it needs images of two classes, and those measured have one")
            return (values_K * weight_K).where(weight_K > 0, 0).sum() / weight_K.sum()

    return OverPresentClasses


def counts_classes(metric: "Metric") -> bool:
    """Return whether a metric depends on the predicted classes only: then an image without a prediction is wrong."""
    from torchmetrics import classification as c

    return isinstance(metric, c.MulticlassStatScores | c.MulticlassConfusionMatrix | c.MulticlassExactMatch)


def wrong_where_nan(probabilities_BK: "Tensor", labels_B: "Tensor") -> "Tensor":
    """Return the probabilities with 0 for the label and the same for all other classes in the place of a NaN row.

    argmax would take NaN for class 0.
    """
    import torch

    num_classes = probabilities_BK.shape[1]
    others_BK = (~_one_hot(labels_B, num_classes)).to(probabilities_BK.dtype) / max(num_classes - 1, 1)
    return torch.where(probabilities_BK.isnan().any(1, keepdim=True), others_BK, probabilities_BK)


def _one_hot(labels_B: "Tensor", num_classes: int) -> "Tensor":
    """Return bool [B, K], without the check of the labels by torch's one_hot, which makes a GPU wait."""
    import torch

    return labels_B[:, None] == torch.arange(num_classes, device=labels_B.device)


def _shape_of_result(metric: "Metric", num_classes: int) -> tuple[int, ...] | None:
    """Return the shape of the result on two images, one of them classified correctly; None if it is no tensor."""
    import torch

    probabilities_BK = torch.full((2, num_classes), 1 / num_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes without an image
        metric.update(probabilities_BK, torch.tensor([0, num_classes - 1]))
        result = metric.compute()
    metric.reset()
    return tuple(result.shape) if isinstance(result, torch.Tensor) else None
