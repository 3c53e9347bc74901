"""The timing of the benchmarks: CPU seconds, the sides in turn, medians and the ratio pair by pair.

On a GPU, which works while the processor goes on, seconds by the clock until it has finished.
"""

import gc
import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import pytorch_lightning as pl
import torch

torch.set_num_threads(1)
warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


CPU = torch.device("cpu")


def now(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds(function: Callable[[], object], device: torch.device) -> float:
    start = now(device)
    function()
    return now(device) - start


def cpu_seconds(function: Callable[[], object]) -> float:
    return seconds(function, CPU)


@dataclass(frozen=True)
class Pair:
    """Two ways to do one thing, `theirs` and `ours`; a goal for the ratio of their times, and repetitions, on a CPU."""

    label: str
    theirs: Callable[[], object]
    ours: Callable[[], object]
    goal: str
    times: int = 3


def in_turn(sides: dict[str, Callable[[], float]], runs: int = 5) -> dict[str, list[float]]:
    """Measure the sides in turn, A B A B ..., after one round that is not counted; each side returns its own figure."""
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(runs + 1):
        for name, side in sides.items():
            gc.collect()  # no side pays for the rubbish of another
            figure = side()
            if round_:
                figures[name].append(figure)
    return figures


def ratio(above: list[float], below: list[float]) -> str:
    ratios = sorted(a / b for a, b in zip(above, below, strict=True))
    return f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def row(label: str, figure: str, goal: str = "") -> None:
    print(f"  {label:<68} {figure:>26}  {goal}")


class EpochTimer(pl.Callback):
    """Seconds of the last training epoch, without the start of the training, which occurs once."""

    latest = 0.0  # of whichever training ended last, for one that a config has started

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: object) -> None:
        self.start = now(trainer.strategy.root_device)

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: object) -> None:
        self.seconds = EpochTimer.latest = now(trainer.strategy.root_device) - self.start
