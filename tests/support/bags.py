"""Bags of features in files of every format, with a table of labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from safetensors.torch import save_file

WRITERS = {
    ".npy": lambda path, arrays: np.save(path, arrays["features"]),
    ".pt": lambda path, arrays: torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path),
    ".safetensors": lambda path, arrays: save_file({n: torch.from_numpy(array) for n, array in arrays.items()}, path),
}


def write_bag(path: Path, features_nF: np.ndarray, **others: np.ndarray) -> Path:
    """Write one bag; `others`, coords and instance_labels, go beside an .npy file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"features": features_nF, **others}
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.update(arrays)
        return path
    WRITERS[path.suffix](path, arrays)
    for name, array in others.items() if path.suffix == ".npy" else ():
        beside = path.parent.parent / name / path.name
        beside.parent.mkdir(exist_ok=True)
        np.save(beside, array)
    return path


def features_of(number: int, length: int, width: int, dtype: Any = np.float32) -> np.ndarray:
    """Return vectors that begin with (number of the bag, number of the element); the others are noise."""
    noise_nF = np.random.default_rng(number).standard_normal((length, width)).astype(dtype)
    noise_nF[:, 0], noise_nF[:, 1] = number, np.arange(length)
    return noise_nF


def write_table(root: Path, rows: Sequence[Mapping[str, Any]], name: str = "bags.csv") -> Path:
    """Write the table, a column for each key of the first row; return the root."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    (root / name).write_text("\n".join(lines) + "\n")
    return root


def write_bags(root: Path, lengths: Sequence[int], width: int = 4, ending: str = ".npy", **columns: Any) -> Path:
    """Write bags named 0, 1, ... of these lengths, with labels 0 and 1 in turn; `columns` are lists of other cells."""
    for number, length in enumerate(lengths):
        write_bag(root / "features" / f"{number}{ending}", features_of(number, length, width))
    cells = {"label": [number % 2 for number in range(len(lengths))]} | columns
    rows = [
        {"bag": number} | {name: column[number] for name, column in cells.items()} for number in range(len(lengths))
    ]
    return write_table(root, rows)
