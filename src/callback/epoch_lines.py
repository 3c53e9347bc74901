"""How a training goes, in lines: for train.log, and for a terminal that is none (a pipe, a file, a CI job)."""

import logging
import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar

from callback.pace import Pace
from process.console import clock, number

log = logging.getLogger(__name__)

INTERVAL = 60.0  # seconds: within an epoch, a line is said no sooner after the last one


class EpochLines(ProgressBar):
    """Log a line at the end of each epoch, and in long epochs one a minute.

    epoch 3/10  train_loss 0.1234  train_accuracy 0.9712  valid_loss ...  12,300 images/s  1:20 left
    """

    def __init__(self) -> None:
        super().__init__()
        self.enabled, self.validated = True, False
        self.pace: Pace | None = None
        self.unsaid: int | None = None  # an epoch that has ended: its means are known a moment later

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.pace, self.said = Pace(trainer), time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert self.pace is not None
        self.pace.images += len(batch[1]) * trainer.world_size
        if time.monotonic() - self.said >= INTERVAL:
            share = f"{100 * (batch_idx + 1) / trainer.num_training_batches:.0f} %"
            self._say(trainer, self.epoch(trainer, trainer.current_epoch), share, *self.now(trainer))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.pace is not None:
            self.pace.pause()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated = True
        if self.pace is not None:
            self.pace.resume()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.unsaid = trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._say_epoch(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._say_epoch(trainer)
        self.pace = None

    def epoch(self, trainer: Trainer, number: int) -> str:
        last = trainer.max_epochs
        return f"epoch {number + 1:>{len(str(last))}}/{last}" if last and last > 0 else f"epoch {number + 1}"

    def now(self, trainer: Trainer) -> list[str]:
        """Loss and accuracy of training since they were last logged."""
        metrics = trainer.progress_bar_metrics
        names = [f"train_{name}_step" for name in ("loss", "accuracy")]
        return [f"{name[6:-5]} {number(float(metrics[name]))}" for name in names if name in metrics]  # type: ignore[arg-type]

    def speed(self, trainer: Trainer) -> list[str]:
        assert self.pace is not None
        left = self.pace.left(trainer.global_step)
        return [f"{self.pace.images_per_second:,.0f} images/s", *([f"{clock(left)} left"] if left else [])]

    def _say_epoch(self, trainer: Trainer) -> None:
        if self.unsaid is None:
            return
        metrics = trainer.callback_metrics
        shown = ["train_", "valid_"] if self.validated else ["train_"]
        names = [name for part in shown for name in metrics if name.startswith(part) and not name.endswith("_step")]
        values = [f"{name} {number(float(metrics[name]))}" for name in names]
        self._say(trainer, self.epoch(trainer, self.unsaid), *values)
        self.unsaid, self.validated = None, False
        assert self.pace is not None
        self.pace.lap()

    def _say(self, trainer: Trainer, *words: str) -> None:
        self.said = time.monotonic()
        if self.enabled:
            log.info("  ".join([*words, *self.speed(trainer)]))
