"""The end of a training whose loss is NaN or infinite: what follows would be wasted, and best.ckpt must stay good."""

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from process.errors import UserError


class FiniteLoss(Callback):
    """Check that raises a UserError for a loss that is not finite: it names the first step, its batch and its images.

    It is made at the logging interval, at an epoch's end and before a checkpoint is written: at every step it would
    make a GPU wait. `model.skip_nonfinite=true` leaves such batches out instead.
    """

    def __init__(self) -> None:
        self.recent: list[tuple[Tensor, Any]] = []  # (loss, index_B or None) of the steps since the last check

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if isinstance(outputs, Mapping) and "loss" in outputs:  # there is none if the batch was left out
            has_index = isinstance(batch, tuple | list) and len(batch) == 3 and isinstance(batch[2], Tensor)
            self.recent.append((outputs["loss"].detach(), batch[2] if has_index else None))
        if len(self.recent) >= (trainer.log_every_n_steps or 50):  # type: ignore[attr-defined]
            self._check(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer, pl_module)

    def _check(self, trainer: Trainer, pl_module: LightningModule) -> None:
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
        images = ""
        if index_B is not None:
            images = ", images " + ", ".join(map(str, index_B[:8].tolist())) + (", ..." if len(index_B) > 8 else "")
        skip = ", or leave such batches out, model.skip_nonfinite=true" if hasattr(pl_module, "skip_nonfinite") else ""
        raise UserError(
            f"the loss is {float(loss)} at step {loop.total_batch_idx - behind} (epoch {trainer.current_epoch}, batch "
            f"{loop.epoch_loop.batch_idx - behind}{images}): choose a lower hparams.lr{skip}"
        )
