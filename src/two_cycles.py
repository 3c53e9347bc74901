"""A learning rate that rises and falls twice, once for each stage of a training."""

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

RISING, FIRST, LAST = 0.3, 1 / 25, 1 / 250000  # as torch's OneCycleLR: share of a cycle; first and last rate / peak


class TwoCycles(LRScheduler):
    """Two cycles, of steps 0..s-1 and s..total_steps-1, s = share * total_steps, with peaks lr and second * lr.

    In 0.3 of its steps a cycle rises from 1/25 of its peak along half a cosine, then falls to 1/250000 of it along
    another (Smith & Topin 2018, arXiv:1708.07120). No momentum is cycled. The rate depends on the number of the step
    alone. Raises ValueError for a share outside of 0..1 and a peak that is not > 0.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, share: float, second: float = 1.0) -> None:
        if not 0 < share < 1:
            raise ValueError(f"{share=}: choose a share of the steps between 0 and 1, such as 0.5")
        if second <= 0:
            raise ValueError(f"{second=}: choose a number > 0, the peak of the second cycle as a multiple of the first")
        self.total_steps, self.share, self.second = total_steps, share, second
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """Return the learning rate at a step, as a multiple of that of the optimizer."""
        start = max(1, round(self.share * self.total_steps))
        peak, first, length = (1.0, 0, start) if step < start else (self.second, start, self.total_steps - start)
        position = min(1.0, (step - first) / max(1, length - 1))
        if position < RISING:
            return peak * _between(FIRST, 1.0, position / RISING)
        return peak * _between(1.0, LAST, (position - RISING) / (1 - RISING))

    def get_lr(self) -> list[float | Tensor]:
        return [rate * self.factor(self.last_epoch) for rate in self.base_lrs]


def _between(first: float, last: float, position: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * position)) / 2
