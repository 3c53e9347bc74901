"""The timing of the benchmarks: CPU seconds, the sides in turn, medians and the ratio pair by pair."""

import gc
import logging
import time
import warnings
from collections.abc import Callable
from statistics import median

import pytorch_lightning as pl
import torch

torch.set_num_threads(1)
warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


def cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


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
    """CPU seconds of the last training epoch, without the start of the training, which occurs once."""

    def on_train_epoch_start(self, *_: object) -> None:
        self.start = time.process_time()

    def on_train_epoch_end(self, *_: object) -> None:
        self.seconds = time.process_time() - self.start
