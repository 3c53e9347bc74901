"""last.ckpt: where a resumed run goes on. Also the place at which a training heeds Ctrl-C and SIGTERM."""

import time
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from run import interruption

TOGETHER = 10  # batches between two questions to the other ranks, each of which makes a GPU wait


class LastCheckpoint(Checkpoint):
    """Write `folder`/last.ckpt at the end of each epoch, every n steps or minutes within it, and when interrupted.

    Lightning repeats or leaves out parts of an epoch's end (validation, logging, schedulers) when it resumes from the
    middle of it. So this writes at three moments only, from each of which a resumed training does what it would have
    done: after a batch that nothing follows but the next batch, at the start of an epoch (and the end of the last),
    and, interrupted within a validation, before that.
    """

    def __init__(self, folder: str, every_n_steps: int | None = None, every_n_minutes: float | None = None) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("every_n_minutes", every_n_minutes)):
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise ValueError(f"{name}={value}: must be a number > 0, or null")
        self.path = Path(folder, "last.ckpt")
        self.every_n_steps, self.every_n_minutes = every_n_steps, every_n_minutes
        self.saved_at, self.saved_step = time.monotonic(), 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step
        interruption.take()
        interruption.defer(True)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step != self.saved_step:
            self._save(trainer)
        self._heed(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loop = trainer.fit_loop
        if trainer.world_size > 1 and batch_idx % TOGETHER:
            return
        stop, due = self._asked(trainer), _any_rank(trainer, self._due(trainer))
        if not (stop or due) or loop.epoch_loop._should_accumulate():
            return
        assert loop._data_fetcher is not None
        if trainer.is_last_batch or loop.epoch_loop._should_check_val_fx(loop._data_fetcher):
            return  # a validation or the epoch's end follows: then
        pl_module.log_step()  # type: ignore[operator]  # what a resumed training, at the next batch, does not do again
        self._save(trainer)
        if stop:
            self._heed(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        # of several ranks one may have more batches than another: they agree at the next start of an epoch
        if trainer.state.fn == "fit" and trainer.world_size == 1 and self._asked(trainer):
            self._save(trainer)
            self._heed(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)
        interruption.defer(False)
        self._heed(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        interruption.defer(False)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.validating:  # to be done again, as a whole
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress["current"].update(ready=0, started=0, processed=0, completed=0)
            progress["total"].update(ready=1, started=1, processed=0, completed=0)  # for Lightning: within a validation
            progress["is_last_batch"] = False

    def _due(self, trainer: Trainer) -> bool:
        if self.every_n_steps and trainer.global_step - self.saved_step >= self.every_n_steps:
            return True
        return bool(self.every_n_minutes and time.monotonic() - self.saved_at >= 60 * self.every_n_minutes)

    def _asked(self, trainer: Trainer) -> bool:
        return _any_rank(trainer, interruption.asked())  # the signal may have reached one of them only

    def _heed(self, trainer: Trainer) -> None:
        if self._asked(trainer):
            interruption.check()
            raise interruption.Interrupted(15)  # it reached another rank

    def _save(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self.path, weights_only=False)
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step


def _any_rank(trainer: Trainer, wish: bool) -> bool:
    return trainer.strategy.reduce_boolean_decision(wish, all=False) if trainer.world_size > 1 else wish
