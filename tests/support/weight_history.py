"""Callbacks that record or change the weights: `+callbacks.history._target_=weight_history.History`."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor


class History(Callback):
    """Recorder of the module's state after each step, of the run that began last."""

    steps: list[dict[str, Tensor]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        History.steps = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        History.steps.append({name: value.clone() for name, value in pl_module.state_dict().items()})


class HalvedInValidation(Callback):
    """Weights that are changed at the start of a validation and restored at its end, unknown to Lightning."""

    @torch.no_grad()
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before = [parameter.clone() for parameter in pl_module.parameters()]
        for parameter in pl_module.parameters():
            parameter.mul_(0.5)

    @torch.no_grad()
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for parameter, before in zip(pl_module.parameters(), self.before, strict=True):
            parameter.copy_(before)
