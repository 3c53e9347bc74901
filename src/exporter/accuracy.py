"""The accuracy of a network with the patches of its exported file, beside that with the patches of its own test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from exporter.interface import own_mode
from exporter.sample import Sample
from network.fixed_patches import FixedPatches
from set_module.set_network import draws_patches, patch_num_range, temporary_patch_num

MARGIN = 0.005  # an exported network that loses more is reported
PATCHES = 320_000  # that are classified at most: of 64 patches 5,000 images
IMAGES = 500  # that are classified at least
COSTLIER = 8  # another option is tried if it has so many times the patches of the run's own test, at most


@dataclass(frozen=True)
class Accuracy:
    """Accuracies on the same `images` of `total` test images: with the file's patches, with those of the run's test.

    `better` are the option of patches= that loses less than the file does, and its accuracy, if one was found.
    """

    patches: str
    file: float
    run: float
    images: int
    total: int
    better: tuple[str, float] | None = None
    of_run: str = "as the run tests"

    @property
    def is_lower(self) -> bool:
        return self.run - self.file > MARGIN

    def words(self) -> str:
        which = f"all {self.total:,}" if self.images == self.total else f"{self.images:,} of the {self.total:,}"
        return f"{self.file:.4f} (patches={self.patches}), {self.run:.4f} {self.of_run}, on {which} test images"

    def warning(self) -> str:
        """Return the line for a file that is less accurate than the run."""
        remedy = "model_patches.* is as accurate as the run, given as many patches"
        if self.better is not None:
            remedy = f"patches={self.better[0]} is more accurate: {self.better[1]:.4f}"
        return f"model.* is less accurate than the run: {self.words()}; {remedy}"


def measure(module: FixedPatches, image_size: Sequence[int], sample: Sample) -> Accuracy:
    """Measure a network with the fixed patches of `module` and as its run tests it; if it loses, other options too."""
    network: Any = module.network
    cheapest = FixedPatches(network, image_size, own_mode(network))
    smallest, own = patch_num_range(network) if draws_patches(network) else 2 * (cheapest.num_patches,)
    most = max(IMAGES, PATCHES // max(own, module.num_patches))
    with temporary_patch_num(network, own):
        run, images = _accuracy(network, sample, most)
    file, _ = _accuracy(_of_images(module), sample, most)
    found = Accuracy(module.mode, file, run, images, len(sample))
    if smallest < own:  # hparams.test_patch_num=null
        found = replace(found, of_run=f"with {own} random patches")
    for other in (cheapest, FixedPatches(network, image_size, "all")) if found.is_lower else ():
        if other.mode == module.mode or other.num_patches > COSTLIER * own:
            continue
        accuracy, _ = _accuracy(_of_images(other), sample, most)
        if accuracy > (file if found.better is None else found.better[1]):
            found = replace(found, better=(other.mode, accuracy))
        if run - accuracy <= MARGIN:
            break
    return found


def _of_images(module: FixedPatches) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda images_BCHW, index_B: module(images_BCHW)


@torch.no_grad()
def _accuracy(logits: Callable[[Tensor, Tensor], Tensor], sample: Sample, most: int) -> tuple[float, int]:
    """Return the accuracy on `most` test images at most, and their number."""
    correct = count = 0
    for images_BCHW, labels_B, index_B in sample.batches(most):
        correct += int((logits(images_BCHW, index_B).argmax(1) == labels_B).sum())
        count += len(labels_B)
    return correct / count, count
