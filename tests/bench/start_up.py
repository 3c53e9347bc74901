"""From the command to the end of the first training step: train.py with its defaults, and a usual script.

CPU seconds of the whole process, imports and all threads included. Random images in MNIST's files, a new MLflow store.
"""

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from command_line import BYTECODE, TRAIN
from timing import in_turn, ratio, row

BENCH = Path(__file__).parent
SIZES = {"train": 60_000, "t10k": 10_000}


def write_mnist(root: Path) -> None:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for part, size in SIZES.items():
        images, labels = generator.bytes(size * 28 * 28), generator.integers(0, 10, size, np.uint8).tobytes()
        for name, dimensions, data in (("images-idx3", (size, 28, 28), images), ("labels-idx1", (size,), labels)):
            header = bytes([0, 0, 8, len(dimensions)]) + b"".join(each.to_bytes(4, "big") for each in dimensions)
            (raw / f"{part}-{name}-ubyte").write_bytes(header + data)


def to_first_step(words: list[str], root: Path) -> float:
    """Start a program in a new folder, and return its CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        figure = Path(folder, "figure")
        command = [sys.executable, *(word.format(root=root, folder=folder, figure=figure) for word in words)]
        paths = {"PYTHONPATH": str(BENCH), "DATASET": str(root), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        subprocess.run(command, cwd=folder, env={**BYTECODE, **paths}, check=True, capture_output=True)
        return float(json.loads(figure.read_text())[0])


def main() -> None:
    stop = ["+callbacks.stop._target_=start_callback.StopAfterFirstStep", "+callbacks.stop.path={figure}"]
    sides = {
        "script": [str(BENCH / "usual_script.py"), "{root}", "{folder}", "{figure}"],
        "train.py": [str(TRAIN), *stop],
        "train.py loggers=tensorboard": [str(TRAIN), *stop, "loggers=tensorboard"],
    }
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        write_mnist(Path(name))
        figures = in_turn({side: partial(to_first_step, words, Path(name)) for side, words in sides.items()})
    for side, values in figures.items():
        row(f"{side}, CPU s", f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        if side != "script":
            row(f"{side} / script", ratio(values, figures["script"]), "goal <= 1.15")
