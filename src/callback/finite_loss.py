"""Check that ends a training whose loss is NaN or infinite, before such weights reach a checkpoint."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from process.errors import UserError
from training_log import describe_items

log = logging.getLogger(__name__)


class FiniteLoss(Callback):
    """Check that raises a UserError for a loss that is not finite, with the first such step, its batch and its images.

    Runs at the logging interval, before a validation, at an epoch's end and before a checkpoint is written, not at
    every step, where it would make a GPU wait. `model.skip_nonfinite=true` leaves such batches out instead.

    Raises a UserError also if the loss of a validation is NaN, or the metric that chooses best.ckpt or ends the
    training; that of a test is kept as `failure`, to be raised once the result is recorded. With skip_nonfinite these
    are a warning.
    """

    failure: UserError | None = None

    def __init__(self) -> None:
        self.recent: list[tuple[Tensor, Any]] = []  # (loss, index_B or None) of the steps since the last check

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if isinstance(outputs, Mapping) and "loss" in outputs:  # no outputs if training_step returned None
            has_index = isinstance(batch, tuple | list) and len(batch) == 3 and isinstance(batch[2], Tensor)
            self.recent.append((outputs["loss"].detach(), batch[2] if has_index else None))
        if len(self.recent) >= (trainer.log_every_n_steps or 50):  # type: ignore[attr-defined]
            self._check(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer, pl_module)  # else a validation with NaN weights would be reported as the cause

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            of = f"of the validation in epoch {trainer.current_epoch}"
            failure = self._check_loss(trainer, pl_module, "valid_loss", of)
            failure = failure or self._check_watched(trainer, pl_module, of)
            if failure is not None:
                raise failure

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.failure = self._check_loss(trainer, pl_module, "test_loss", "of the test")

    def _check_loss(self, trainer: Trainer, pl_module: LightningModule, loss: str, of: str) -> UserError | None:
        name = f"{loss}{getattr(pl_module, 'name_suffix', '')}"
        if not _is_nan(trainer, name):
            return None
        remedy = "choose a lower hparams.lr, look for items that the network cannot take"
        return self._refused_or_reported(pl_module, f"the loss {of} is nan ({name})", remedy)

    def _check_watched(self, trainer: Trainer, pl_module: LightningModule, of: str) -> UserError | None:
        """Return an error for a metric of the validation that is NaN and watched, by best.ckpt or early stopping."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            name = str(getattr(callback, "monitor", ""))
            if not name.startswith("train_") and _is_nan(trainer, name):
                remedy = "watch another metric, such as hparams.monitor=valid_loss hparams.monitor_mode=min"
                return self._refused_or_reported(pl_module, f"hparams.monitor: {name} {of} is nan", remedy)
        return None

    def _refused_or_reported(self, pl_module: LightningModule, line: str, remedy: str) -> UserError | None:
        if getattr(pl_module, "skip_nonfinite", False):
            log.warning(line)
            return None
        allow = ", or allow it, model.skip_nonfinite=true" if hasattr(pl_module, "skip_nonfinite") else ""
        return UserError(f"{line}: {remedy}{allow}")

    def _check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        recent, self.recent = self.recent, []
        if not recent:
            return
        finite = torch.stack([loss for loss, _ in recent]).isfinite().tolist()
        if all(finite):
            return
        first = finite.index(False)
        steps_ago = len(recent) - 1 - first
        step, batch = trainer.fit_loop.total_batch_idx - steps_ago, trainer.fit_loop.epoch_loop.batch_idx - steps_ago
        loss, index_B = recent[first]
        items = "" if index_B is None else f", {describe_items(trainer, index_B)}"
        skip = ", or leave such batches out, model.skip_nonfinite=true" if hasattr(pl_module, "skip_nonfinite") else ""
        raise UserError(
            f"the loss is {float(loss)} at step {step} (epoch {trainer.current_epoch}, batch {batch}{items}): "
            f"choose a lower hparams.lr{skip}"
        )


def _is_nan(trainer: Trainer, name: str) -> bool:
    return name in trainer.callback_metrics and bool(trainer.callback_metrics[name].isnan())
