"""The table of `make check-gpu`: milliseconds and peak memory of both sides, measured in turn, as `make bench` does."""

import importlib.util
import math
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import torch
from configs import composed
from gpu_checks import MissingError, Place, run_here
from sets import attention, pools, step
from sides import Noise, Shuffled, plain_epoch
from timing import EpochTimer, Pair, in_turn, ratio, seconds

from command import cli

HEAD = (
    "| theirs / ours | theirs, ms | ours, ms | ratio | theirs, MiB | ours, MiB |\n| --- | --- | --- | --- | --- | --- |"
)
LEAST = 0.03  # seconds of a figure
# options of train.py, and images in an epoch
EPOCHS = {
    "epoch of MNIST's size, cnn, plain loop / train.py": (("data=MNIST", "model=cnn"), 25_600),
    "epoch of CIFAR's size, vgg11_bn, plain loop / train.py": (("data=CIFAR10", "model=vgg11_bn"), 6_400),
}
# all else as without options; a validation would be a part of the epoch
NOISE = (
    *("~data.name", "~data.root", "data._target_=sides.Noise", "data.valid=0", "loggers=tensorboard"),
    *("hparams.monitor=train_loss", "hparams.monitor_mode=min", "hparams.max_epochs=2", "scheduler=none"),
    *("hparams.lr=0.001", "+callbacks.timer._target_=timing.EpochTimer"),
)


def rows(place: Place) -> Iterator[tuple[str, Callable[[], str]]]:
    """Return the name of each row, and what measures and writes it. Raises MissingError instead of the last rows."""
    batch = {"batch": 8} if place.quick else {}
    for width in (64, 256):
        yield f"training step, {width} wide", lambda width=width: compare(step(width, place.device, **batch), place)
    yield "attention", lambda: compare(attention(place.device, **batch), place)
    for label, (options, count) in EPOCHS.items():
        yield label, partial(epoch, label, 16 if place.quick else count, place, *options)
    if importlib.util.find_spec("torch_geometric") is None:
        raise MissingError("torch-geometric is not installed: its pools are left out")
    for features in (64, 256):
        for pair in pools(features, place.device, **batch):
            yield pair.label, partial(compare, pair, place)


def compare(pair: Pair, place: Place) -> str:
    """Measure a pair, each side so often that a figure takes LEAST.

    Both sides are called before: the first call takes memory that stays (cuBLAS, gradients, Adam), also for the other.
    """
    sides = {"theirs": pair.theirs, "ours": pair.ours}
    for side in sides.values():
        side()
    memory = {name: peak(side, place) for name, side in sides.items()}
    times = {
        name: 1 if place.quick else math.ceil(LEAST / max(seconds(side, place.device), 1e-5))
        for name, side in sides.items()
    }

    def repeated(name: str) -> float:
        return seconds(lambda: [sides[name]() for _ in range(times[name])], place.device) / times[name]

    figures = in_turn({name: partial(repeated, name) for name in sides}, runs=1 if place.quick else 5)
    return written(pair.label, figures, memory)


def epoch(label: str, count: int, place: Place, *options: str) -> str:
    """Measure the second epoch through train.py, and in a plain loop with the same network, optimizer and tensors."""
    options = (*options, *NOISE, f"+data.count={count}", f"trainer={place.trainer}")
    config, memory = composed(*options), {}

    def theirs() -> float:
        def train() -> None:
            data: Noise = cli.build(config.data)
            network = cli.build(config.model).network.to(place.device)
            taken.append(plain_epoch(network, Shuffled(data, place.device), place.device))

        taken: list[float] = []
        memory["theirs"] = peak(train, place)
        return taken[0]

    def ours() -> float:
        memory["ours"] = peak(lambda: run_here(place, *options), place)
        return EpochTimer.latest

    figures = in_turn({"theirs": theirs, "ours": ours}, runs=1 if place.quick else 3)
    return written(label, figures, memory)


def peak(function: Callable[[], object], place: Place) -> str:
    """Return the MiB that a call takes beyond those that are in use before it; `-` on a processor."""
    if not place.on_gpu:
        function()
        return "-"
    torch.cuda.synchronize(place.device)
    torch.cuda.reset_peak_memory_stats(place.device)
    before = torch.cuda.memory_allocated(place.device)
    function()
    torch.cuda.synchronize(place.device)
    return f"{(torch.cuda.max_memory_allocated(place.device) - before) / 2**20:.0f}"


def written(label: str, figures: dict[str, list[float]], memory: dict[str, str]) -> str:
    times = [f"{median(figures[side]) * 1e3:.2f}" for side in ("theirs", "ours")]
    cells = [label, *times, ratio(figures["theirs"], figures["ours"]), memory["theirs"], memory["ours"]]
    return f"| {' | '.join(cells)} |"
