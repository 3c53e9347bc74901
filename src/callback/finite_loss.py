"""A loss that is NaN or infinite ends the training: what follows would be lost, and best.ckpt must stay good."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from process.errors import UserError


class FiniteLoss(Callback):
    """Raise a UserError that names the first step with a loss that is not finite, its batch and its images.

    Looks at the logging interval, at an epoch's end and before a checkpoint is written: at every step it would make a
    GPU wait. `model.skip_nonfinite=true` leaves such batches out instead.
    """

    def __init__(self) -> None:
        self.recent: list[tuple[Tensor, Tensor]] = []  # (loss, index_B) of the steps since the last look

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if outputs:  # none of a batch that was left out
            self.recent.append((outputs["loss"].detach(), batch[2]))
        if len(self.recent) >= (trainer.log_every_n_steps or 50):  # type: ignore[attr-defined]
            self._look(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        recent, self.recent = self.recent, []
        if not recent:
            return
        finite = torch.stack([loss for loss, _ in recent]).isfinite().tolist()
        if all(finite):
            return
        first = finite.index(False)
        behind = len(recent) - 1 - first
        loop = trainer.fit_loop
        loss, index_B = recent[first]
        images = ", ".join(map(str, index_B[:8].tolist())) + (", ..." if len(index_B) > 8 else "")
        raise UserError(
            f"the loss is {float(loss)} at step {loop.total_batch_idx - behind} (epoch {trainer.current_epoch}, batch "
            f"{loop.epoch_loop.batch_idx - behind}, images {images}): choose a lower hparams.lr, or leave such batches "
            "out, model.skip_nonfinite=true"
        )
