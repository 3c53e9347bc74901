"""The check of an exported file: it must give the outputs of its network."""

import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from exporter.interface import Interface, random_input
from exporter.sample import Sample
from exporter.score import Mean, Score
from process.errors import UserError

# B images or sets, K outputs

BATCHES = (1, 2, 7, 32)
TOLERANCE = 1e-4  # relative to the largest output if that exceeds 1; a quantized network has its own `tolerance`
TESTED = 1000  # test images, at most
TIMED = 32  # the batch size at which speed is measured


@dataclass
class Agreement:
    """A file compared with its network: largest difference of an output, score on `tested` items, relative time.

    The score is the `metric` of the task; both are None without test items.
    """

    difference: float
    tested: int
    metric: str | None
    score: float | None
    slowdown: float

    def words(self) -> list[str]:
        score = [] if self.score is None else [f"{self.metric} {self.score:.4f} on {self.tested:,} of the test set"]
        return [*score, f"differs by {self.difference:.1g} at most", f"takes {self.slowdown:.1f}x the time of torch"]


def agreement(
    interface: Interface, run: Callable[..., Tensor], shape: Sequence[int], sample: Sample | None, score: Score
) -> Agreement:
    """Compare a file with its network on noise, in batches of several sizes, and on test items.

    Items whose patches depend on how a program rounds are not compared. Raises UserError if the others differ.

    Args:
        run: the opened file, a function of the interface's inputs.
        shape: (C, H, W) of an image, or (F,) of a vector.
    """
    noise = [random_input(interface.network, count, shape, seed) for seed, count in enumerate(BATCHES)]
    differences = [_difference(interface, run, inputs)[0] for inputs in noise]
    mean = Mean()
    for inputs, targets, _ in sample.batches(TESTED) if sample is not None else ():
        difference, outputs_BK = _difference(interface, run, inputs)
        differences.append(difference)
        mean.add(score(outputs_BK, targets, inputs), len(outputs_BK))
    timed = interface.inputs(random_input(interface.network, TIMED, shape, seed=0))
    slowdown = _seconds(run, timed) / _seconds(interface.module, timed)
    is_known = mean.count and mean.value is not None
    return Agreement(max(differences), mean.count, score.metric if is_known else None, mean.value, slowdown)


def _difference(interface: Interface, run: Callable[..., Tensor], inputs: Any) -> tuple[float, Tensor]:
    """Return the largest difference of an output, and the outputs [B, K] of the file; refuse a large difference."""
    with torch.no_grad():
        expected_BK, outputs_BK = interface.outputs(inputs), run(*interface.inputs(inputs))
    difference = torch.inf
    if outputs_BK.shape == expected_BK.shape:
        difference = float((outputs_BK - expected_BK)[interface.compared(inputs)].abs().max())
    if not expected_BK.isfinite().all():
        raise UserError("the network's own outputs are not finite: its weights are broken, choose others by ckpt=")
    tolerance = getattr(interface.network, "tolerance", TOLERANCE)
    allowed = tolerance * max(1.0, float(expected_BK.abs().max()))
    if not difference <= allowed:
        raise UserError(
            f"the exported network differs from its original by {difference:.3g} in an output, more than "
            f"{allowed:.3g}, in a batch of {len(expected_BK)}: no file is written"
        )
    return difference, outputs_BK


def _seconds(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> float:
    """Return the shortest time of five runs."""
    with torch.no_grad():
        function(*inputs)
        return min(timeit.repeat(lambda: function(*inputs), repeat=5, number=1))
