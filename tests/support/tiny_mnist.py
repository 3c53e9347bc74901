"""A tiny MNIST in its own format: noise, labelled 0, 1, ... 9, 0, ..."""

from pathlib import Path

import numpy as np


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


def write_mnist(root: Path, train: int, test: int) -> None:
    random = np.random.default_rng(0)
    for part, size in [("train", train), ("t10k", test)]:
        images = random.integers(0, 256, (size, 28, 28), np.uint8)
        write_idx(root / f"MNIST/raw/{part}-images-idx3-ubyte", images)
        write_idx(root / f"MNIST/raw/{part}-labels-idx1-ubyte", np.arange(size, dtype=np.uint8) % 10)
