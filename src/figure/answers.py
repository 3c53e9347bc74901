"""Targets and predictions of any task, as figures write them."""

# B items, K outputs of an item

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from figure.picture import class_name, class_names

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule, Trainer

MOST = 4  # numbers, or names of labels, that are written of an item


def one_target(targets: Any, number: int) -> Any:
    """Return the target of an item: a tensor, or those of several tasks by name."""
    if isinstance(targets, Mapping):
        return {name: one_target(each, number) for name, each in targets.items()}
    return targets[number]


def predictions_of(module: "LightningModule", outputs_BK: Tensor) -> Tensor:
    """Return the probabilities or values that the outputs of a test step mean; the outputs if there is no task."""
    task: Any = getattr(module, "task", None)
    return outputs_BK.float() if task is None else task.predict(outputs_BK)


def describe_target(trainer: "Trainer", target: Any) -> str:
    """Return `cat` of a class, `cat, dog` of labels, `3.1` or `3.1, 0.2` of values; nothing of an empty target."""
    if isinstance(target, Mapping):
        return ", ".join(f"{name}: {describe_target(trainer, each)}" for name, each in target.items())
    if target.ndim == 0 and not target.is_floating_point():
        return class_name(trainer, int(target))
    if target.ndim == 1 and 0 < len(target) == len(class_names(trainer)):
        return describe_labels(trainer, target > 0.5)
    return describe_values(target)


def describe_labels(trainer: "Trainer", chosen_K: Tensor) -> str:
    """Return the names of the labels that are true, `none` if none is."""
    names = [class_name(trainer, label) for label in chosen_K.nonzero()[:, 0].tolist()]
    return _shortened(names) if names else "none"


def describe_values(values: Tensor) -> str:
    """Return the first numbers of a tensor."""
    return _shortened([f"{value:.4g}" for value in values.flatten()[: MOST + 1].tolist()])


def _shortened(words: list[str]) -> str:
    return ", ".join([*words[:MOST], "..."] if len(words) > MOST else words)
