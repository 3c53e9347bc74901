"""last.ckpt: where a resumed run goes on. Also the place at which a training heeds Ctrl-C and SIGTERM."""

import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from process import interruption

TOGETHER = 10  # batches, at most, between two questions to the other ranks, each of which makes a GPU wait
SECONDS = 1.0  # between two questions, where batches take long


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
        self.pause = self.wait = 1  # batches between two questions, and until the next

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.saved_at, self.saved_step = self.asked_at, _ = time.monotonic(), trainer.global_step
        interruption.take()
        interruption.defer(True)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        interruption.take()  # Lightning's own handler waits for all ranks, of which one only may have got the signal

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step != self.saved_step:
            self._save(trainer)
        self._heed(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loop = trainer.fit_loop
        stop, late = self._questions(trainer)
        due = late or bool(self.every_n_steps and trainer.global_step - self.saved_step >= self.every_n_steps)
        if not (stop or due):
            return
        assert loop._data_fetcher is not None
        followed = trainer.is_last_batch or loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
        if loop.epoch_loop._should_accumulate() or followed:  # by a validation or the epoch's end
            self.wait = 1
            return
        pl_module.log_step()  # type: ignore[operator]  # what a resumed training, at the next batch, does not do again
        self._save(trainer)
        if stop:
            self._heed(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.common = sum(trainer.num_val_batches)
        if trainer.world_size > 1:  # one may have more images than another
            batches = torch.tensor(self.common, device=trainer.strategy.root_device)
            self.common = int(trainer.strategy.reduce(batches, reduce_op="min"))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if trainer.state.fn == "fit" and batch_idx < self.common and self._questions(trainer)[0]:
            self._save(trainer)
            self._heed(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)
        interruption.defer(False)
        self._heed(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # what starts several ranks sends SIGTERM to those that are left: that is not why they end
        interruption.defer(trainer.world_size > 1)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.validating:  # to be done again, as a whole
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress["current"].update(ready=0, started=0, processed=0, completed=0)
            progress["total"].update(ready=1, started=1, processed=0, completed=0)  # for Lightning: within a validation
            progress["is_last_batch"] = False

    def _questions(self, trainer: Trainer) -> tuple[bool, bool]:
        """Whether a signal came, and whether `every_n_minutes` are over: on any rank, where there are several."""
        now = time.monotonic()
        late = bool(self.every_n_minutes and now - self.saved_at >= 60 * self.every_n_minutes)
        if trainer.world_size == 1:
            return interruption.asked(), late
        self.wait -= 1
        if self.wait:
            return False, False
        mine = torch.tensor([interruption.asked(), late, now - self.asked_at], device=trainer.strategy.root_device)
        stop, any_late, seconds = trainer.strategy.reduce(mine, reduce_op="max").tolist()
        # of the same numbers on all ranks, which have to ask at the same batch
        self.pause = self.wait = max(1, min(TOGETHER, int(self.pause * SECONDS / max(seconds, 1e-3))))
        self.asked_at = time.monotonic()
        return bool(stop), bool(any_late)

    def _asked(self, trainer: Trainer) -> bool:
        asked = interruption.asked()  # the signal may have reached one of several ranks only
        return trainer.strategy.reduce_boolean_decision(asked, all=False) if trainer.world_size > 1 else asked

    def _heed(self, trainer: Trainer) -> None:
        if self._asked(trainer):
            interruption.check()
            raise interruption.Interrupted(15)  # it reached another rank

    def _save(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self.path, weights_only=False)
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step
