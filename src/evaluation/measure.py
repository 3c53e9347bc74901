"""The measurement of one network: the test of its training, at other sizes of the sets if asked for, and by parts."""

# N items

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from command.sized_tests import largest_set, measure_sizes
from evaluation.instances import Instances
from process.console import few_classes, format_number
from run.folder import EVALUATION
from set_module.set_batch import SetBatch
from set_module.set_network import draws_patches, patch_num_limit

log = logging.getLogger(__name__)
SIZED = re.compile(r".*/n=\d+")  # the name of a result at one size of the sets


class Outputs(Callback):
    """The outputs [N, K] and targets [N, ...] of a test, and whether the items are images or sets."""

    def __init__(self) -> None:
        self.batches: list[tuple[Tensor, Any]] = []
        self.items = "images"

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self.items = "sets" if isinstance(batch[0], SetBatch) else "images"
        self.batches.append((outputs.float().cpu(), _each(batch[1], Tensor.cpu)))  # half precision makes ties

    def joined(self) -> tuple[Tensor, Any]:
        outputs, targets = zip(*self.batches, strict=True)
        if isinstance(targets[0], Mapping):
            return torch.cat(outputs), {name: torch.cat([each[name] for each in targets]) for name in targets[0]}
        return torch.cat(outputs), torch.cat(targets)


def measure(run: Any, model: Any, data: Any, sizes: list[int]) -> dict[str, Any]:
    """Return the results of the test, those at `sizes` and of parts of the items, and the number of images or sets.

    What the parts are is the task's: classes (`per_class`, and a confusion matrix), labels, counts, components.
    Where the data know which elements are evidence for the label, the results of Instances are among them.
    `nan_images` or `nan_sets` is the number of items of which a prediction is NaN, if there are any.
    """
    model.sizes = possible(sizes, model.network)
    model.largest_size = max(model.sizes, default=None)
    outputs, instances = Outputs(), Instances(_instance_labels(model, data))
    measuring: list[Callback] = [outputs, instances] if instances.labels else [outputs]
    trainer = run.trainer(callbacks=measuring, limit_test_batches=1.0)
    (tested,) = trainer.test(model, data.test_dataloader(), verbose=False)
    outputs_NK, targets = outputs.joined()
    found, suffix = model.task.breakdown(outputs_NK, targets, data.class_names), getattr(model, "name_suffix", "")

    at_sizes = {name: value for name, value in tested.items() if SIZED.fullmatch(name)}
    is_sized = draws_patches(model.network)
    if not is_sized and sizes and largest_set(data) is not None:
        at_sizes, is_sized = measure_sizes(trainer, model, data, sizes), True
        if left_out := [size for size in sizes if not any(name.endswith(f"/n={size}") for name in at_sizes)]:
            log.info(f"sizes {left_out} are left out: not every test set has so many elements")
    return {
        outputs.items: len(outputs_NK),
        **({f"nan_{outputs.items}": found.nan_items} if found.nan_items else {}),
        **{f"test_{name}{suffix}": value for name, value in found.overall.items()},  # the config's metrics may lack it
        **{name: value for name, value in tested.items() if name not in at_sizes},
        **instances.results(),
        **{
            f"per_{kind}": {_at_part(name, suffix): value for name, value in parts.items()}
            for kind, parts in found.parts.items()
        },
        **found.matrices,
        **({"sizes": at_sizes} if is_sized else {}),
    }


def possible(sizes: list[int], network: Any) -> list[int]:
    """Return the sizes for which there are enough places; log the others."""
    if not draws_patches(network):
        return []
    places = patch_num_limit(network) or max(sizes, default=0)
    if left_out := [size for size in sizes if size > places]:
        log.info(f"sizes {left_out} are left out: the selection takes {places} patches of an image at most")
    return [size for size in sizes if size <= places]


def _instance_labels(model: Any, data: Any) -> Sequence[Tensor | None]:
    """Return the labels of the elements of the test sets; none if the data or the task have none."""
    known = model.task.class_logits and hasattr(data, "instance_labels")
    labels: Sequence[Tensor | None] = data.instance_labels("test") if known else []
    if all(label_n is None for label_n in labels):
        return []
    if data.max_elements is not None:
        log.info("the instance labels are not used: data.max_elements leaves elements out")
        return []
    return labels


def rows(result: Mapping[str, Any], verbosity: int) -> dict[str, Any]:
    """Return the rows of a terminal's table: those of a part of the items that has several results become one.

    Of many parts (classes, labels), it returns those whose first result is the worst, and the number of the others.
    """
    shown = {name: value for name, value in result.items() if not isinstance(value, dict | list)}
    for kind, parts in result.items():
        if not kind.startswith("per_"):
            continue
        part_name = kind.removeprefix("per_")
        of_part: dict[str, dict[str, Any]] = {}
        for name, value in parts.items():
            of_part.setdefault(name.partition(f"/{part_name}=")[2], {})[name] = value
        chosen = few_classes(list(of_part.items()), lambda row: _rank(row[1]), verbosity)
        for part, values in chosen:
            if len(values) == 1:
                shown |= values
                continue
            results = {name.partition("/")[0].removeprefix("test_"): value for name, value in values.items()}
            shown[f"{part_name}={part}"] = ", ".join(f"{name} {_words(value)}" for name, value in results.items())
        if left_out := len(of_part) - len(chosen):
            others = "classes" if part_name == "class" else f"{part_name}s"
            shown[f"{left_out:,} other {others}"] = f"in {EVALUATION}; verbosity=2 shows all"
    return shown | result.get("sizes", {})


def _rank(values: Mapping[str, float | None]) -> float:
    """Return a number that is the lower, the worse the first result of a part is; an undefined one comes last."""
    name, value = next(iter(values.items()))
    if value is None:
        return float("inf")
    return -value if "_mae/" in name else value


def _words(value: float | None) -> str:
    return "-" if value is None else format_number(value)


def _at_part(name: str, suffix: str) -> str:
    """Return test_accuracy/n=1-64/class=cat for accuracy/class=cat."""
    metric, _, part = name.partition("/")
    return f"test_{metric}{suffix}/{part}"


def _each(targets: Any, function: Any) -> Any:
    if isinstance(targets, Mapping):
        return {name: function(target) for name, target in targets.items()}
    return function(targets)
