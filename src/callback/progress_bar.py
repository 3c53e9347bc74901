"""What a terminal shows of a training: a bar for the epoch, what is measured below it, a line for each epoch above."""

import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from rich import get_console
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from callback.epoch_lines import EpochLines
from process.console import clock, number, shown


def for_terminal(verbosity: int) -> EpochLines:
    """A bar where it can be drawn and is wanted, else the lines alone."""
    console = get_console()
    draws = console.is_terminal and not console.is_dumb_terminal and not console.is_jupyter
    return ProgressBar() if draws and shown(verbosity) > 0 else EpochLines()


class ProgressBar(EpochLines):
    """Two live lines, drawn every `interval` seconds: by the step, it would cost more than a step of a small network.

    epoch 3/10 ━━━━━━━━━━━━━━━━━━╸━━━━━━━━━━━━━━━━━━  12,300 images/s  1:20 left
    loss 0.1234  accuracy 0.9712  valid_loss 0.1123  valid_accuracy 0.9801
    """

    def __init__(self, interval: float = 0.2) -> None:
        super().__init__()
        self.interval, self.drawn = interval, 0.0
        self.live: Live | None = None

    def disable(self) -> None:
        super().disable()
        self._stop()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._draw_training(trainer, batch_idx)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if trainer.state.fn == "fit":
            words = f"{self.epoch(trainer, trainer.current_epoch)} validation"
            self._draw(words, batch_idx, trainer.num_val_batches[0])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.live is not None:
            epoch = self.epoch(trainer, trainer.current_epoch)
            self.bar.update(self.task, description=epoch, completed=0, total=trainer.num_training_batches)
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()
        super().on_train_end(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start()

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self._draw("test", batch_idx, trainer.num_test_batches[0])

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.began = time.monotonic()
        self._start()

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        total = trainer.num_predict_batches[0]
        left = (time.monotonic() - self.began) * (total - batch_idx - 1) / (batch_idx + 1)
        words = getattr(pl_module, "stage", "test")  # evaluate.py predicts test images
        self._draw(words, batch_idx, total, f"{clock(left)} left")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._stop()

    def _start(self) -> None:
        self._stop()
        if not self.enabled:
            return
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(None), TextColumn("{task.fields[speed]}"))
        self.bar.expand = True
        self.task = self.bar.add_task("", total=None, speed="")
        self.text = Text(no_wrap=True, overflow="ellipsis", style="dim")
        self.live = Live(Group(self.bar, self.text), console=get_console(), auto_refresh=False, transient=True)
        self.live.start()

    def _stop(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _draw_training(self, trainer: Trainer, batch_idx: int) -> None:
        if not self._due(batch_idx, trainer.num_training_batches):
            return
        valid = {name: value for name, value in trainer.progress_bar_metrics.items() if name.startswith("valid_")}
        words = [*self.now(trainer), *(f"{name} {number(float(value))}" for name, value in valid.items())]  # type: ignore[arg-type]
        self.text.plain = "  ".join(words)
        epoch, speed = self.epoch(trainer, trainer.current_epoch), "  ".join(self.speed(trainer))
        self._show(epoch, batch_idx, trainer.num_training_batches, speed)

    def _draw(self, words: str, batch_idx: int, total: float, speed: str = "") -> None:
        if self._due(batch_idx, total):
            self._show(words, batch_idx, total, speed)

    def _due(self, batch_idx: int, total: float) -> bool:
        now = time.monotonic()
        if self.live is None or (now - self.drawn < self.interval and batch_idx + 1 != total):
            return False
        self.drawn = now
        return True

    def _show(self, words: str, batch_idx: int, total: float, speed: str) -> None:
        assert self.live is not None
        self.bar.update(self.task, description=words, completed=batch_idx + 1, total=total, speed=speed)
        self.live.refresh()
