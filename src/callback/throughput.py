"""How many images training has seen, and how many it sees in a second."""

import time
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

KEY = "examples"


class Throughput(Callback):
    """`examples`: images (or bags) since the beginning of the training, also of one that was resumed; over all ranks.

    `system/images_per_second`: since the last row, without the time of validation.
    """

    def __init__(self) -> None:
        self.before = 0  # of all ranks, until the last row or checkpoint
        self.count = 0  # of this rank, since then
        self.told = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.began, self.told = time.monotonic(), self.before

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.paused = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.began += time.monotonic() - self.paused

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.count += len(batch[1])
        if not pl_module.logs_now:
            return
        metrics: Any = pl_module.step_metrics
        now = time.monotonic()
        metrics["examples"] = self._sum(trainer)
        metrics["system/images_per_second"] = (self.before - self.told) / (now - self.began)
        self.began, self.told = now, self.before

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self._sum(trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.before, self.count = checkpoint.get(KEY, 0), 0  # 0: written without this callback

    def _sum(self, trainer: Trainer) -> int:
        count = torch.tensor(self.count, device=trainer.strategy.root_device)
        self.before += int(trainer.strategy.reduce(count, reduce_op="sum")) if trainer.world_size > 1 else self.count
        self.count = 0
        return self.before
