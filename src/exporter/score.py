"""The score of a network with the patches of its exported file, beside that with the patches of its own test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from exporter.interface import ImageForm, image_form, own_mode
from exporter.sample import Sample
from network.fixed_patches import FixedPatches
from set_module.set_network import draws_patches, patch_num_range, split_outputs, temporary_patch_num

MARGIN = 0.005  # an exported network that loses more accuracy is reported
PATCHES = 320_000  # that are read at most: of 64 patches 5,000 images
IMAGES = 500  # that are read at least
COSTLIER = 8  # another option is tried if it has so many times the patches of the run's own test, at most


class Score:
    """The main metric of a task, such as accuracy, of a batch; None for a loss that reads more than a file returns."""

    def __init__(self, task: Any) -> None:
        self.task, self.metric = task, str(task.main_metric[0])

    def __call__(self, outputs_BK: Tensor, targets: Any, inputs: Any) -> float | None:
        if self.metric == "loss" and self.task.reads_others:
            return None
        value: float = self.task.main_value(outputs_BK, targets, inputs, {})
        return value


class Mean:
    """The mean of scores over the items of several batches; None if one of them is None."""

    def __init__(self) -> None:
        self.total: float | None = 0.0
        self.count = 0

    def add(self, value: float | None, count: int) -> None:
        self.total = None if value is None or self.total is None else self.total + value * count
        self.count += count

    @property
    def value(self) -> float | None:
        return None if self.total is None or not self.count else self.total / self.count


@dataclass(frozen=True)
class Comparison:
    """Scores on the same `images` of `total` test images: with the file's patches, with those of the run's test.

    `metric` is what they measure. `better` are the option of patches= that loses less accuracy than the file does, and
    its accuracy, if one was found. `takes_patches`: whether there is a file that takes patches, too.
    """

    metric: str
    patches: str
    file: float
    run: float
    images: int
    total: int
    better: tuple[str, float] | None = None
    of_run: str = "as the run tests"
    takes_patches: bool = True

    @property
    def is_lower(self) -> bool:
        """Return whether the file is notably less accurate than the run: False for metrics other than accuracy."""
        return self.metric == "accuracy" and self.run - self.file > MARGIN

    def words(self) -> str:
        which = f"all {self.total:,}" if self.images == self.total else f"{self.images:,} of the {self.total:,}"
        return f"{self.file:.4f} (patches={self.patches}), {self.run:.4f} {self.of_run}, on {which} test images"

    def warning(self) -> str:
        """Return the line for a file that is less accurate than the run."""
        remedy = "model_patches.* is as accurate as the run, given as many patches"
        if not self.takes_patches:
            remedy = "model/selection=fixed or grid trains a network of the same places for all images"
        if self.better is not None:
            remedy = f"patches={self.better[0]} is more accurate: {self.better[1]:.4f}"
        return f"model.* is less accurate than the run: {self.words()}; {remedy}"


def measure(module: ImageForm, image_size: Sequence[int], sample: Sample, score: Score) -> Comparison | None:
    """Measure a network with the fixed patches of `module` and as its run tests it; None if it cannot be measured.

    If it loses accuracy, measure other options too.
    """
    network: Any = module.network
    cheapest = image_form(network, image_size, own_mode(network))
    smallest, own = patch_num_range(network) if draws_patches(network) else 2 * (cheapest.num_patches,)
    most = max(IMAGES, PATCHES // max(own, module.num_patches))
    with temporary_patch_num(network, own):
        of_run = _mean(lambda images, index: split_outputs(network(images, index))[0], sample, most, score)
    file, run = _mean(_of_images(module), sample, most, score).value, of_run.value
    if file is None or run is None:
        return None
    patches = isinstance(module, FixedPatches)
    found = Comparison(score.metric, module.mode, file, run, of_run.count, len(sample), takes_patches=patches)
    if smallest < own:  # hparams.test_patch_num=null
        found = replace(found, of_run=f"with {own} random patches")
    for other in (cheapest, image_form(network, image_size, "all")) if found.is_lower else ():
        if other.mode == module.mode or other.num_patches > COSTLIER * own:
            continue
        accuracy = _mean(_of_images(other), sample, most, score).value
        assert accuracy is not None
        if accuracy > (file if found.better is None else found.better[1]):
            option = other.mode if other.mode in ("even", "grid", "all") else "null"  # of the network's own places
            found = replace(found, better=(option, accuracy))
        if run - accuracy <= MARGIN:
            break
    return found


def _of_images(module: ImageForm) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda images_BCHW, index_B: module(images_BCHW)


@torch.no_grad()
def _mean(outputs: Callable[[Tensor, Tensor], Tensor], sample: Sample, most: int, score: Score) -> Mean:
    """Return the mean score on `most` test images at most."""
    mean = Mean()
    for images_BCHW, targets, index_B in sample.batches(most):
        mean.add(score(outputs(images_BCHW, index_B), targets, images_BCHW), len(index_B))
    return mean
