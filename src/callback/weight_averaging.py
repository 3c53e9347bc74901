"""Averages of the weights over a training, which are validated, tested and kept in best.ckpt."""

from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class EMA(WeightAveraging):
    """Exponential moving average of the weights: a <- d a + (1 - d) w after optimizer step t = 1, 2, ...

    d = min(decay, t / (9 + t)), so that a short training is not dominated by its first weights. Polyak & Juditsky 1992.
    Averages BatchNorm's statistics too, and copies integers. Lightning's base class puts the averages into the module
    for each validation; see callback/checkpoint.py for what the checkpoints hold.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: must be a number >= 0 and < 1")
        super().__init__(multi_avg_fn=self._average)
        self.decay, self.steps = decay, 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._device = trainer.strategy.root_device  # the module is moved there only later
        super().setup(trainer, pl_module, stage)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        if step_idx is not None:
            self.steps = step_idx + 1
        return step_idx is not None

    def _average(self, averages: Any, weights: Any, _: Tensor) -> None:
        """Update the averages of one dtype in place."""
        if averages[0].is_floating_point() or averages[0].is_complex():
            torch._foreach_lerp_(averages, weights, 1 - min(self.decay, self.steps / (9 + self.steps)))
        else:
            torch._foreach_copy_(averages, weights)
