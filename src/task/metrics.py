"""The metrics of validation and test, by their names: `metrics=[accuracy,top_5,f1]`, `metrics=[mae,rmse]`.

Each kind of target has its own metrics, see FAMILIES. The common ones and whether higher values are better are listed
here, as importing torchmetrics takes seconds. A mean over classes or labels leaves out those without an item, which
torchmetrics counts as 0 in some metrics.
"""

import importlib
import logging
import math
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
Entry = str | Mapping[str, Mapping[str, Any]]  # of `metrics=`


@dataclass(frozen=True)
class Family:
    """Metrics of one kind of target: a module of torchmetrics, and the names by which the common ones are chosen.

    Args:
        module: where the classes are.
        prefix: how their names begin; it may be left out.
        short: name -> class without the prefix, its arguments, whether higher values are better.
        steps: metrics that training measures at each step -> whether higher values are better.
        validated: the step metrics are also those of validation and test.
    """

    module: str
    prefix: str = ""
    short: Mapping[str, tuple[str, Mapping[str, Any], bool]] = field(default_factory=dict)
    steps: Mapping[str, bool] = field(default_factory=dict)
    validated: bool = False


_OF_CLASSES: dict[str, tuple[str, Mapping[str, Any], bool]] = {
    "f1": ("F1Score", {}, True),
    "precision": ("Precision", {}, True),
    "recall": ("Recall", {}, True),
    "auroc": ("AUROC", {}, True),
    "average_precision": ("AveragePrecision", {}, True),
}
_OF_VALUES: dict[str, tuple[str, Mapping[str, Any], bool]] = {
    "mae": ("MeanAbsoluteError", {}, False),
    "mse": ("MeanSquaredError", {}, False),
    "rmse": ("MeanSquaredError", {"squared": False}, False),
    "r2": ("R2Score", {}, True),
}
FAMILIES = {  # by the name of the function below that builds them, which a task's YAML names
    "multiclass": Family(
        "torchmetrics.classification",
        "Multiclass",
        {
            "accuracy": ("Accuracy", {"average": "micro"}, True),
            **_OF_CLASSES,
            "calibration_error": ("CalibrationError", {}, False),
        },
        {"accuracy": True},
    ),
    "multilabel": Family(
        "torchmetrics.classification",
        "Multilabel",
        {"exact_match": ("ExactMatch", {}, True), "accuracy": ("Accuracy", {}, True), **_OF_CLASSES},
        {"exact_match": True},
    ),
    "regression": Family(
        "torchmetrics.regression", "", {**_OF_VALUES, "exact": ("Exact", {}, True)}, {"mae": False, "exact": True}
    ),
    "count": Family(
        "torchmetrics.regression",
        "",
        {**_OF_VALUES, "exact": ("Exact", {}, True)},
        {"mae": False, "exact": True},
    ),
    "mixture": Family("", steps={"log_likelihood": True, "gap": False}, validated=True),
    "nothing": Family(""),
}
NEED_OTHERS = ("AUROC", "Specificity")  # undefined for a class or label that all items have
# undefined for a label that no item has; others, such as the accuracy, are measured on the items without it too
NEED_LABEL = ("AUROC", "AveragePrecision", "F1Score", "FBetaScore", "Precision", "Recall")


@dataclass(frozen=True)
class Choice:
    """Entry of `metrics=`: as written, its name in results, its class without the prefix, its arguments."""

    written: str
    name: str
    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)


def choices(entries: Sequence[Entry], family: str = "multiclass") -> list[Choice]:
    """Parse the entries of `metrics=`. Raises ValueError for an invalid entry and for two of the same name."""
    found = [_choice(entry, FAMILIES[family]) for entry in entries]
    names = [choice.name for choice in found]
    for choice in found:
        if names.count(choice.name) > 1:
            raise ValueError(f"{choice.written}: there are two metrics {choice.name}: leave one of them out")
    return found


def names(entries: Sequence[Entry], family: str = "multiclass") -> list[str]:
    """Return the names of the results of validation and test, besides the loss."""
    steps = FAMILIES[family].steps if FAMILIES[family].validated else ()
    return [*(choice.name for choice in choices(entries, family)), *steps]


def higher_is_better(entries: Sequence[Entry], name: str, family: str = "multiclass") -> bool | None:
    """Return whether higher values of the result `name` are better; None if neither direction is.

    Imports torchmetrics only for metrics that have no short name. Raises ValueError for an unknown class.
    """
    known = FAMILIES[family]
    choice = next((choice for choice in choices(entries, family) if choice.name == name), None)
    if choice is None:
        return known.steps.get(name, name != "loss")
    directions = {kind: higher for kind, _, higher in known.short.values()}
    if choice.kind in directions:
        return directions[choice.kind]
    higher: bool | None = _class(choice, known).higher_is_better
    return higher


def _choice(entry: Entry, family: Family) -> Choice:
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, Mapping) or len(entry) != 1 or not all(isinstance(v, Mapping) for v in entry.values()):
        raise ValueError(f"{entry}: write the name of a metric, or {{name: {{argument: value}}}}")
    ((written, arguments),) = entry.items()
    if not family.module:
        raise ValueError(f"{written}: this task has no metrics of its own: metrics=[]")
    of_classes = family.prefix == "Multiclass"
    if of_classes and (top := re.fullmatch(r"top_([1-9]\d*)", written)):
        return Choice(written, written, "Accuracy", {"average": "micro", "top_k": int(top[1]), **arguments})
    if written in family.short:
        kind, own, _ = family.short[written]
        return Choice(written, written, kind, {**own, **arguments})
    if not written[:1].isupper():
        close = nearest(written, family.short)
        others = ", ".join(family.short) + (", top_5 and the like" if of_classes else "")
        hint = f"did you mean {close}?" if close else f"there are {others}"
        example = "CohenKappa" if of_classes else "CosineSimilarity" if not family.prefix else "HammingDistance"
        raise ValueError(f"{written}: no such metric; {hint} (or a class of {family.module}: {example})")
    plain = written.removeprefix(family.prefix)
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain).lower()
    return Choice(written, snake, plain, dict(arguments))


def multiclass(names: Sequence[Entry], num_classes: int) -> dict[str, "Metric"]:
    """Return {name in results: metric of probabilities [B, num_classes] and labels [B]}.

    Raises ValueError for an unknown name, wrong arguments, and a metric whose result is not one number.
    """
    import torch

    sample = torch.full((2, num_classes), 1 / num_classes), torch.tensor([0, num_classes - 1])
    found = choices(names)
    for choice in found:
        if choice.arguments.get("top_k", 1) >= max(num_classes, 2):  # always correct
            remedy = f"choose top_{num_classes - 1} or less" if num_classes > 2 else "leave it out"
            raise ValueError(f"{choice.written}: there are {num_classes} classes: {remedy}")
    return {choice.name: _build(choice, "multiclass", sample, num_classes=num_classes) for choice in found}


def multilabel(names: Sequence[Entry], num_labels: int) -> dict[str, "Metric"]:
    """Return {name in results: metric of probabilities [B, num_labels] and rows of 0 and 1}; raise as multiclass."""
    import torch

    sample = torch.full((2, num_labels), 0.25), torch.tensor([[0], [1]]).expand(2, num_labels)
    found = choices(names, "multilabel")
    return {choice.name: _build(choice, "multilabel", sample, num_labels=num_labels) for choice in found}


def regression(names: Sequence[Entry], shape: Sequence[int] = ()) -> dict[str, "Metric"]:
    """Return {name in results: metric of predictions and targets, [B] or [B, prod(shape)]}; raise as multiclass."""
    return _of_values(names, shape, "regression")


def count(names: Sequence[Entry], shape: Sequence[int] = ()) -> dict[str, "Metric"]:
    """Return the metrics of `regression` for rates and counts: an item is exact if the rate, rounded, is the count."""
    return _of_values(names, shape, "count")


def mixture(names: Sequence[Entry]) -> dict[str, "Metric"]:
    """Return no metrics, as clustering measures its own: raise ValueError for any other."""
    choices(names, "mixture")
    return {}


def nothing(names: Sequence[Entry]) -> dict[str, "Metric"]:
    """Return no metrics; raise ValueError for any name."""
    choices(names, "nothing")
    return {}


def _of_values(names: Sequence[Entry], shape: Sequence[int], family: str) -> dict[str, "Metric"]:
    import torch

    size = (3, math.prod(shape)) if shape else (3,)
    sample = torch.arange(3.0 * math.prod(shape)).reshape(size), torch.arange(3.0 * math.prod(shape)).reshape(size) + 1
    return {choice.name: _build(choice, family, sample) for choice in choices(names, family)}


def _class(choice: Choice, family: Family) -> Any:
    if choice.kind == "Exact" and not family.prefix:
        from task.exact import Exact

        return Exact
    module, prefix = importlib.import_module(family.module), family.prefix
    known = [name.removeprefix(prefix) for name in dir(module) if name.startswith(prefix) and name[0].isupper()]
    if choice.kind not in known:
        close = nearest(choice.kind, known)
        hint = f"did you mean {close}?" if close else f"there are {', '.join(known)}"
        of = {"Multiclass": " of several classes", "Multilabel": " of several labels"}.get(prefix, "")
        raise ValueError(f"{choice.written}: {family.module} has no such metric{of}; {hint}")
    return getattr(module, prefix + choice.kind)


def _build(choice: Choice, family: str, sample: tuple["Tensor", "Tensor"], **size: int) -> "Metric":
    kind = _class(choice, FAMILIES[family])
    try:
        metric: Metric = kind(**size, **choice.arguments)
        shape = _shape_of_result(metric, sample)
        average = getattr(metric, "average", None)
        of_present = family == "multiclass" or (family == "multilabel" and choice.kind in NEED_LABEL)
        if shape == () and of_present and average in ("macro", "weighted"):
            metric = _over_present(kind)(choice, average, **size)
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


def _over_present(kind: Any) -> Any:
    """Return the metric class with a mean over the classes or labels that an item has; NaN, and a line once, for none.

    The area under the ROC curve and the specificity of a class or label also need an item without it.
    """
    import torch

    class OverPresent(kind):
        def __init__(self, choice: Choice, average: str, **size: int) -> None:
            super().__init__(**{**choice.arguments, **size, "average": "none"})
            self.choice, self.weighted, self.reported = choice, average == "weighted", False
            (count,) = size.values()
            for name in ("items_K", "others_K"):  # how many items have each class or label, and how many do not
                self.add_state(name, torch.zeros(count, dtype=torch.int64), dist_reduce_fx="sum")

        def update(self, probabilities_BK: "Tensor", targets: "Tensor") -> None:
            super().update(probabilities_BK, targets)
            if targets.ndim == 1:
                counted_B = targets if self.ignore_index is None else targets[targets != self.ignore_index]
                has_BK = _one_hot(counted_B, len(self.items_K))
                lacks_BK = ~has_BK
            else:
                has_BK, lacks_BK = targets == 1, targets == 0
            self.items_K += has_BK.sum(0)
            self.others_K += lacks_BK.sum(0)

        def compute(self) -> "Tensor":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about classes without an item
                values_K = super().compute()
            weight_K = self.items_K if self.weighted else self.items_K > 0
            needs_others = self.choice.kind in NEED_OTHERS
            if needs_others:
                weight_K = weight_K * (self.others_K > 0)
            if not weight_K.any() and not self.reported:
                self.reported = True
                needed = "that some items have and others have not" if needs_others else "that an item has"
                log.warning(f"{self.choice.name} is nan: it needs a class or label {needed}")
            return (values_K * weight_K).where(weight_K > 0, 0).sum() / weight_K.sum()

    return OverPresent


def counts_classes(metric: "Metric") -> bool:
    """Return whether a metric depends on the predicted classes only: then an item without a prediction is wrong."""
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


def _shape_of_result(metric: "Metric", sample: tuple["Tensor", "Tensor"]) -> tuple[int, ...] | None:
    """Return the shape of the result on predictions and targets of a few items; None if it is no tensor."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes without an item
        metric.update(*sample)
        result = metric.compute()
    metric.reset()
    return tuple(result.shape) if isinstance(result, torch.Tensor) else None
