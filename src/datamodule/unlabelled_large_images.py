"""Unlabelled images of any size in files, for predict.py."""

import glob
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodule.image_table import ENDINGS, images_below, is_image
from datamodule.large_images import FileReader
from datamodule.loader import identity_collate
from process.errors import UserError
from process.files import path_from_setting
from process.text import printable
from set_module.lazy_images import LazyImages

KINDS = f"give an image ({' '.join(ENDINGS)}), a folder, or a pattern such as 'slides/**/*.svs'"

Batch = tuple[LazyImages | None, Tensor, dict[int, str]]


class UnlabelledLargeImages(Dataset[Batch]):
    """Images of any size; a batch is (LazyImages or None, index_B, {index: why it is unreadable}).

    `input` is an image, a folder with all below it, or a pattern. `names` are its files, sorted; `others` is always
    empty. An image that is smaller than `smallest` pixels on a side is unreadable. Raises UserError if nothing is
    found.
    """

    def __init__(
        self,
        input: str,
        channels: int,
        batch_size: int,
        smallest: int,
        level: int = 0,
        magnification: float | None = None,
        tissue: float | None = None,
        tissue_threshold: float = 0.07,
    ) -> None:
        paths = find(input)
        self.reader = FileReader(paths, channels, level, magnification, tissue, tissue_threshold)
        self.names, self.others, self.batch_size = [printable(path) for path in paths], list[str](), batch_size
        self.unreadable = {i: printable(f"{paths[i]}: {problem}") for i, problem in self.reader.problems.items()}
        for i, (height, width) in enumerate(self.reader.sizes):
            if i not in self.unreadable and min(height, width) < smallest:
                size = f"{height}x{width} pixels, smaller than a patch of {smallest}"
                self.unreadable[i] = printable(f"{paths[i]}: {size}")

    def __len__(self) -> int:
        return len(self.names)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a whole batch, for DataLoader."""
        readable = [i for i in indices if i not in self.unreadable]
        unreadable = {i: self.unreadable[i] for i in indices if i in self.unreadable}
        images = LazyImages(self.reader, readable) if readable else None
        return images, torch.tensor(readable, dtype=torch.int64), unreadable

    def loader(self) -> DataLoader[Any]:
        warnings.filterwarnings("ignore", ".* does not have many workers")
        settings: dict[str, Any] = {"collate_fn": identity_collate, "generator": torch.Generator()}
        return DataLoader(self, self.batch_size, **settings)  # what it loads are names


def find(pattern: str) -> list[Path]:
    """Return the images that a pattern names, sorted."""
    path = path_from_setting("input", pattern, KINDS)
    if is_image(path):
        return [path]
    if path.is_dir():
        found = images_below(path)
    else:
        found = sorted(each for name in glob.glob(str(path), recursive=True) if is_image(each := Path(name)))  # noqa: PTH207
    if not found:
        raise UserError(f"input={pattern}: no image is there: {KINDS}")
    return found
