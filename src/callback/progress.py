"""Progress of a training: log lines for train.log and pipes, and a progress bar if the terminal can draw one."""

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning import callbacks as lightning_callbacks
from rich import get_console
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from process.console import effective_verbosity, format_duration, format_number

log = logging.getLogger(__name__)

INTERVAL = 60.0  # seconds between two lines within an epoch, at least
WIDTH = 100  # columns of a line


def count_items(batch: Any) -> int:
    """Return the number of items in a batch, the length of its second part (inputs, targets, ...); 0 if it has none.

    Of targets of several tasks, {name: targets}, it is the length of the first.
    """
    parts = tuple(batch.values()) if isinstance(batch, Mapping) else batch
    if isinstance(parts, list | tuple) and parts:
        parts = parts[min(1, len(parts) - 1)]
    if isinstance(parts, Mapping) and parts:
        parts = next(iter(parts.values()))
    try:
        return len(parts)
    except TypeError:
        return 0


def items_of(batch: Any) -> str:
    """Return what the items of a batch are: sets, if its first part has their lengths, otherwise images."""
    inputs = batch[0] if isinstance(batch, list | tuple) and batch else batch
    return "sets" if hasattr(inputs, "lengths") else "images"


class Pace:
    """Counter of items (images or sets), steps and seconds since training started or was resumed.

    The speed is that since the last `lap`, without pauses (validation). `left` estimates the seconds to the
    end of the training from the time per step so far, validation included; None if the training has no end.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.total = trainer.estimated_stepping_batches
        self.first_step, self.began, self.items = trainer.global_step, time.monotonic(), "images"
        self.paused: float | None = None
        self.lap()

    def lap(self) -> None:
        self.images, self.steps, self.lap_began = 0, 0, time.monotonic()

    def pause(self) -> None:
        self.paused = time.monotonic()

    def resume(self) -> None:
        if self.paused is not None:
            self.lap_began += time.monotonic() - self.paused
        self.paused = None

    @property
    def seconds(self) -> float:
        now = time.monotonic() if self.paused is None else self.paused
        return max(now - self.lap_began, 1e-9)

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds

    @property
    def speed(self) -> str:
        """The seconds per step if they are more than one, else the items per second; "" before the first step."""
        if self.steps and self.seconds > self.steps:
            return f"{self.seconds / self.steps:,.1f} s/step"
        return f"{self.images_per_second:,.0f} {self.items}/s" if self.images else ""

    def left(self, step: int) -> float | None:
        if step == self.first_step or math.isinf(self.total):
            return None
        return (time.monotonic() - self.began) / (step - self.first_step) * (self.total - step)


class EpochLines(lightning_callbacks.ProgressBar):
    """Writer of a log line at the end of each epoch, and once a minute within a long epoch.

    epoch  3/10  loss 0.1234 valid 0.1123  accuracy 0.9712 valid 0.9801  12,300 images/s  1:20 left

    The value after a name is that of training. What exceeds WIDTH columns goes on in the next line.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enabled, self.validated = True, False
        self.pace: Pace | None = None
        self.unlogged: int | None = None  # a finished epoch; its means are known a moment later

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.pace, self.logged_at = Pace(trainer), time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert self.pace is not None
        self.pace.images += count_items(batch) * trainer.world_size
        self.pace.items = items_of(batch)
        self.pace.steps += 1
        if time.monotonic() - self.logged_at >= INTERVAL:
            share = f"{100 * (batch_idx + 1) / trainer.num_training_batches:.0f} %"
            self._log(trainer, self.epoch(trainer, trainer.current_epoch), share, *self.now(trainer))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.pace is not None:
            self.pace.pause()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated = True
        if self.pace is not None:
            self.pace.resume()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.unlogged = trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log_epoch(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log_epoch(trainer)
        self.pace = None

    def epoch(self, trainer: Trainer, number: int) -> str:
        last = trainer.max_epochs
        return f"epoch {number + 1:>{len(str(last))}}/{last}" if last and last > 0 else f"epoch {number + 1}"

    def now(self, trainer: Trainer) -> list[str]:
        """Return the training means of the last row (`train_NAME_step`) as text, one string each."""
        metrics: dict[str, Any] = trainer.progress_bar_metrics
        steps = {name: value for name, value in metrics.items() if name.startswith("train_") and name.endswith("_step")}
        return [f"{name[6:-5]} {format_number(float(value))}" for name, value in steps.items()]

    def speed(self, trainer: Trainer) -> list[str]:
        assert self.pace is not None
        left = self.pace.left(trainer.global_step)
        return [*filter(None, [self.pace.speed]), *([f"{format_duration(left)} left"] if left else [])]

    def _log_epoch(self, trainer: Trainer) -> None:
        if self.unlogged is None:
            return
        parts = ("train_", "valid_") if self.validated else ("train_",)
        values: dict[str, list[str]] = {}  # name without the part -> its values as text
        for part in parts:
            for name, value in trainer.callback_metrics.items():
                if name.startswith(part) and not name.endswith("_step"):
                    of_part = "valid " if part == "valid_" else ""
                    values.setdefault(name.removeprefix(part), []).append(of_part + format_number(float(value)))
        words = [" ".join([name, *texts]) for name, texts in values.items()]
        self._log(trainer, self.epoch(trainer, self.unlogged), *words)
        self.unlogged, self.validated = None, False
        assert self.pace is not None
        self.pace.lap()

    def _log(self, trainer: Trainer, *words: str) -> None:
        self.logged_at = time.monotonic()
        if self.enabled:
            log.info(in_columns([*words, *self.speed(trainer)]))


def in_columns(words: list[str]) -> str:
    """Join words by two spaces, in lines of at most WIDTH columns, of which all but the first are indented."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 2 + len(word) > WIDTH:
            lines.append("")
        lines[-1] += f"  {word}"
    return "\n".join(lines)


class ProgressBar(EpochLines):
    """Progress bar of two lines, drawn every `interval` seconds, as drawing takes longer than a small network's step.

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
        self._draw(words, batch_idx, total, f"{format_duration(left)} left")

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
        words = [*self.now(trainer), *(f"{name} {format_number(float(value))}" for name, value in valid.items())]  # type: ignore[arg-type]
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


def for_terminal(verbosity: int) -> EpochLines:
    """Return a ProgressBar if the terminal can draw one and `verbosity` is not 0, else EpochLines."""
    console = get_console()
    draws = console.is_terminal and not console.is_dumb_terminal and not console.is_jupyter
    return ProgressBar() if draws and effective_verbosity(verbosity) > 0 else EpochLines()
