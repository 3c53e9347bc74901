"""The check of an exported file: it must give the logits of its network."""

import timeit
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from exporter.interface import Interface, random_input
from exporter.sample import Sample
from process.errors import UserError

# B images or bags, K classes

BATCHES = (1, 2, 7, 32)
TOLERANCE = 1e-4  # relative to the largest logit if that exceeds 1; a quantized network has its own `tolerance`
TESTED = 1000  # test images, at most
TIMED = 32  # the batch size at which speed is measured


@dataclass
class Agreement:
    """A file compared with its network: largest difference of a logit, accuracy on `tested` images, relative time."""

    difference: float
    tested: int
    accuracy: float | None
    slowdown: float

    def words(self) -> list[str]:
        accuracy = [] if self.accuracy is None else [f"accuracy {self.accuracy:.4f} on {self.tested:,} of the test set"]
        return [*accuracy, f"differs by {self.difference:.1g} at most", f"takes {self.slowdown:.1f}x the time of torch"]


def agreement(
    interface: Interface, run: Callable[..., Tensor], shape: tuple[int, ...], sample: Sample | None
) -> Agreement:
    """Compare a file with its network on noise, in batches of several sizes, and on test images.

    Raises UserError if they differ.

    Args:
        run: the opened file, a function of the interface's inputs.
        shape: (C, H, W) of an image.
    """
    noise = [random_input(interface.network, count, shape[0], shape[1:], seed) for seed, count in enumerate(BATCHES)]
    differences = [_difference(interface, run, images)[0] for images in noise]
    correct = count = 0
    for images, labels_B, _ in sample.batches(TESTED) if sample is not None else ():
        difference, logits_BK = _difference(interface, run, images)
        differences.append(difference)
        correct, count = correct + int((logits_BK.argmax(1) == labels_B).sum()), count + len(labels_B)
    inputs = interface.inputs(random_input(interface.network, TIMED, shape[0], shape[1:], seed=0))
    slowdown = _seconds(run, inputs) / _seconds(interface.module, inputs)
    return Agreement(max(differences), count, correct / count if count else None, slowdown)


def _difference(interface: Interface, run: Callable[..., Tensor], images: Any) -> tuple[float, Tensor]:
    """Return the largest difference of a logit, and the logits [B, K] of the file; refuse a large difference."""
    with torch.no_grad():
        expected_BK, logits_BK = interface.logits(images), run(*interface.inputs(images))
    difference = float((logits_BK - expected_BK).abs().max()) if logits_BK.shape == expected_BK.shape else torch.inf
    if not expected_BK.isfinite().all():
        raise UserError("the network's own outputs are not finite: its weights are broken, choose others by ckpt=")
    tolerance = getattr(interface.network, "tolerance", TOLERANCE)
    allowed = tolerance * max(1.0, float(expected_BK.abs().max()))
    if not difference <= allowed:
        raise UserError(
            f"the exported network differs from its original by {difference:.3g} in a logit, more than {allowed:.3g}, "
            f"in a batch of {len(expected_BK)}: no file is written"
        )
    return difference, logits_BK


def _seconds(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> float:
    """Return the shortest time of five runs."""
    with torch.no_grad():
        function(*inputs)
        return min(timeit.repeat(lambda: function(*inputs), repeat=5, number=1))
