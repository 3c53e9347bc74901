"""Callbacks that fail on one of several ranks, or compare ranks: `+callbacks.fault={_target_: rank_faults. ...}`."""

import os
import signal
from typing import Any

import torch
from faults import Fault
from pytorch_lightning import Callback, LightningModule, Trainer

from process.ranks import gather_from_ranks


class OnRank(Fault):
    """A fault on one rank: an exception, or a signal to the process or to the one that started it."""

    def __init__(self, batch: int, rank: int, name: str | None = None, parent: bool = False, during: str = "train"):
        super().__init__(batch, during)
        self.rank, self.name, self.parent = rank, name, parent

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.here = trainer.global_rank == self.rank

    def happen(self) -> None:
        if self.here and self.name is None:
            raise RuntimeError("crashed on purpose")
        if self.here:
            os.kill(os.getppid() if self.parent else os.getpid(), signal.Signals[self.name])


class AtConstruction(Callback):
    """An exception on the second rank before torch connects it to the first."""

    def __init__(self) -> None:
        if os.environ.get("LOCAL_RANK") == "1":
            raise ValueError("nothing of that here")


class SameWeights(Callback):
    """A check that all ranks have the same weights at the end of the training."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        weights: Any = torch.cat([parameter.detach().flatten() for parameter in pl_module.parameters()])
        first, *others = gather_from_ranks(weights, trainer.world_size)
        assert others
        assert all(torch.equal(first, other) for other in others)
