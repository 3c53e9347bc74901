"""Unlabelled image files, for predict.py."""

import glob
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from lightning_fabric.utilities.data import suggested_max_num_workers
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodule.class_folders import is_hidden, is_image, left_out, names_in_folder, names_in_zip
from datamodule.decode import MAX_MEGAPIXELS
from datamodule.image_folder import FileSource, UnreadableImageError
from datamodule.loader import identity_collate, start_method
from process.errors import UserError
from process.files import path_from_setting
from process.text import printable

# B readable images of a batch, C channels, H height, W width

KINDS = "give an image, a folder, a .zip of images, or a pattern such as 'photos/**/*.png'"
FEW = 500  # images; for fewer, starting workers takes longer than they save

Batch = tuple[Tensor, Tensor, dict[int, str]]


class Files(Dataset[Batch]):
    """Image files, decoded as in training; a batch is (images_BCHW uint8, index_B, {index: why it is unreadable}).

    `input` is an image, a folder (with all below it), a .zip, or a pattern, in which `**` stands for any folders.
    `names` are sorted. Hidden files are left out, and so are files of other types in a folder or .zip. `others` holds
    messages about files of other types and about folders without permission. Raises UserError if nothing is found.
    """

    def __init__(
        self,
        input: str,
        channels: int,
        image_size: Sequence[int],
        batch_size: int,
        num_workers: int | None,
        white: float | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> None:
        if channels not in (1, 3):
            raise UserError(f"the network takes {channels} channels: files are read as grey (1) or RGB (3)")
        closed: list[OSError] = []
        root, names, others = find(input, closed.append)
        self.others = [f"{printable(error.filename)}: {error.strerror}: its images are left out" for error in closed]
        if not names:
            why = self.others[0] if closed else f"no image there ({left_out(others) or 'no files'})"
            raise UserError(f"input={input}: {why}: {KINDS}")
        shape = (channels, image_size[0], image_size[1])
        self.source = FileSource(root, {"": names}, [0], shape, white, max_megapixels, "files.max_megapixels")
        self.names = [printable(root / name) for name in names]
        if others:
            self.others.append(f"{printable(left_out(others))}; a pattern such as 'photos/*.dat' takes them")
        self.batch_size, self.num_workers = batch_size, num_workers

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a whole batch, for DataLoader."""
        images: dict[int, Tensor] = {}
        unreadable: dict[int, str] = {}
        for i in indices:
            try:
                images[i] = self.source.image(i)
            except UnreadableImageError as error:
                unreadable[i] = printable(error)
        none = torch.empty(0, *self.source.shape, dtype=torch.uint8)
        return torch.stack(list(images.values())) if images else none, torch.tensor(list(images)), unreadable

    def loader(self) -> DataLoader[Batch]:
        workers = self.num_workers
        if workers is None:
            workers = suggested_max_num_workers(1) if len(self) > FEW else 0
        # Lightning advises more workers, which are slower for few images
        warnings.filterwarnings("ignore", ".* does not have many workers")
        settings: dict[str, Any] = {"collate_fn": identity_collate, "generator": torch.Generator()}
        settings["multiprocessing_context"] = start_method(workers)
        return DataLoader(self, self.batch_size, num_workers=workers, **settings)


def find(pattern: str, on_closed: Callable[[OSError], None]) -> tuple[Path, list[str], list[str]]:
    """Return the folder or .zip that a pattern names, the sorted image names in it, and those of other files.

    `on_closed` is called with the error of each folder that may not be opened.
    """
    path = path_from_setting("input", pattern, KINDS)
    if path.is_dir():
        return path, *_images(names_in_folder(path, on_closed=on_closed))
    if path.is_file() and path.suffix.lower() == ".zip":
        return path, *_images(names_in_zip(path))
    if path.is_file():
        return path.parent, [path.name], []
    # not Path.glob, which finds hidden files too
    found = [name for name in glob.glob(str(path), recursive=True) if Path(name).is_file()]  # noqa: PTH207
    if not found:
        raise UserError(f"input={pattern}: nothing is there: {KINDS}")
    return Path(path.anchor), sorted(name.removeprefix(path.anchor) for name in found), []


def _images(names: list[str]) -> tuple[list[str], list[str]]:
    files = sorted(name for name in names if not name.endswith("/") and not is_hidden(PurePosixPath(name).parts))
    return [name for name in files if is_image(name)], [name for name in files if not is_image(name)]
