"""A folder of JPEG images, from its listing to the first batch: decoded, limited, and from the cache.

CPU seconds, those of worker processes included. Files of 32x32, as large as CIFAR-10's: 0.9 kB.
"""

import os
import resource
import tempfile
import time
from pathlib import Path
from statistics import median

from predict_files import write_jpegs
from timing import in_turn, ratio, row

from datamodule import pixel_cache
from datamodule.image_folder import ImageFolder

IMAGES, CLASSES, LIMIT = 20_000, 10, 512
FACTS = {"num_classes": CLASSES, "channels": 3, "image_size": [32, 32], "mean": [0.5], "std": [0.25]}
SETTINGS = {"batch_size": 128, "seed": 0, "split_seed": 0, "valid": LIMIT, "fold": None, "num_folds": 5}
SETTINGS |= {"crop_padding": 0, "flip": True}


def cpu() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in usage)


def to_first_batch(root: Path, cache: bool, limit_train: int | None = None) -> float:
    start = cpu()
    settings = {"num_workers": None, "limit_train": limit_train, "memory_limit_gib": 4, "cache": cache}
    data = ImageFolder(root=str(root), **FACTS, **SETTINGS, **settings)
    data.setup()
    next(iter(data.train_dataloader()))
    return cpu() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for label in range(CLASSES):
            folder = root / "data" / "train" / str(label)
            folder.mkdir(parents=True)
            write_jpegs(folder, IMAGES // CLASSES)
        os.environ["PATCH_SETS_CACHE"] = str(root / "cache")
        time.sleep(pixel_cache.SETTLED)  # files that were just written are not kept
        figures = in_turn(
            {
                "all decoded": lambda: to_first_batch(root / "data", cache=False),
                f"data.limit_train={LIMIT}": lambda: to_first_batch(root / "data", cache=False, limit_train=LIMIT),
                "from the cache": lambda: to_first_batch(root / "data", cache=True),
            }
        )
    del os.environ["PATCH_SETS_CACHE"]
    decoded = figures["all decoded"]
    for side, values in figures.items():
        row(f"{IMAGES:,} images, {side}, CPU s", f"{median(values):.3f}")
        if values is not decoded:
            row(f"{IMAGES:,} images, all decoded / {side}", ratio(decoded, values), "goal >= 10")
