"""An epoch of bags of vectors in files, against reading the same files with NumPy alone; and its memory.

200 bags of 5,000 x 1,024 float16 (2 GB) in a temporary folder, shuffled, eight in a batch. CPU seconds where the files
are in the system's cache; by the clock where they are read from the disk. The memory is that of the whole process.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from timing import cpu_seconds, in_turn, ratio, row

from datamodule.feature_bags import FeatureBags

BAGS, ELEMENTS, FEATURES, BATCH = 200, 5_000, 1_024, 8
FACTS: dict[str, Any] = {
    **{"num_classes": 2, "features": FEATURES, "mean": [0.0], "std": [1.0], "batch_size": BATCH},
    **{"seed": 0, "split_seed": 0, "valid": 0, "fold": None, "num_folds": 5, "limit_train": None},
    **{"memory_limit_gib": 0, "draw": "rows", "num_workers": None},
}


def write_bags(root: Path) -> list[Path]:
    (root / "features").mkdir()
    (root / "bags.csv").write_text("bag,label\n" + "".join(f"{number},{number % 2}\n" for number in range(BAGS)))
    random = np.random.default_rng(0)
    for number in range(BAGS):
        features_nF = random.standard_normal((ELEMENTS, FEATURES), np.float32).astype(np.float16)
        np.save(root / "features" / f"{number}.npy", features_nF)
    os.sync()
    return sorted((root / "features").iterdir())


def seconds_from_disk(function: Callable[[], object], paths: list[Path]) -> float:
    for path in paths:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def consume(batches: Iterator[object]) -> None:
    for _ in batches:
        pass


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        paths = write_bags(root)

        def one_by_one() -> None:
            for path in paths:
                np.load(path)

        def in_batches() -> None:
            for first in range(0, BAGS, BATCH):
                [np.load(path) for path in paths[first : first + BATCH]]

        def epoch(**settings: Any) -> Callable[[], None]:
            loader = FeatureBags(root=name, **FACTS | settings).train_dataloader()
            return lambda: consume(iter(loader))

        sides: dict[str, Callable[[], object]] = {
            "NumPy, file after file": one_by_one,
            "NumPy, eight files in memory": in_batches,
            "an epoch": epoch(),
            "an epoch, 512 rows of each bag": epoch(max_elements=512),
            "an epoch, 512 elements in runs": epoch(max_elements=512, draw="runs"),
        }
        figures = in_turn({side: lambda once=once: cpu_seconds(once) for side, once in sides.items()})
        for side, values in figures.items():
            row(f"in cache: {side}, CPU s", f"{sorted(values)[len(values) // 2]:.2f}")
        for side in ("NumPy, file after file", "NumPy, eight files in memory"):
            row(f"in cache: an epoch / {side}", ratio(figures["an epoch"], figures[side]))
        chosen = {side: sides[side] for side in ("NumPy, file after file", "an epoch")}
        figures = in_turn({s: lambda once=once: seconds_from_disk(once, paths) for s, once in chosen.items()}, runs=3)
        for side, values in figures.items():
            row(f"from disk: {side}, s by the clock", f"{sorted(values)[len(values) // 2]:.2f}")
        row("from disk: an epoch / NumPy", ratio(figures["an epoch"], figures["NumPy, file after file"]), "goal <= 1.3")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    row("largest memory of this process, GiB", f"{peak:.2f}", "goal <= 2")
