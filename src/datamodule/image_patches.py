"""The patches of images, whole images after each other, a limited number at a time: for embed.py."""

# N patches of a batch, P patches of an image, C H W of an image, p side of a patch

import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from lightning_fabric.utilities.data import suggested_max_num_workers
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodule.decode import MAX_MEGAPIXELS, READ
from datamodule.files import FEW
from datamodule.image_folder import FileSource
from datamodule.image_list import ImageList
from datamodule.large_images import FileReader
from datamodule.loader import identity_collate, start_method
from process.errors import UserError
from process.text import printable
from set_module.lazy_images import LazyImages
from set_module.patch_cutout import PatchCutout
from set_module.set_batch import SetBatch

REST = sys.maxsize  # the end of the last part of an image


class Segment(NamedTuple):
    """Patches of one image that follow each other; their upper left corners (y, x), int64 [n, 2], in its pixels.

    `problem` says why the image cannot be used; it then has no corners.
    """

    image: int
    corners_n2: Tensor
    is_first: bool
    is_last: bool
    problem: str | None


Batch = tuple[Tensor, list[Segment]]


class ImagePatches(Dataset[Batch]):
    """Batches of patches uint8 [N, C, p, p], and the segments of which they consist, in the order of the images.

    The places are those that `cutout` gives for each image in evaluation mode. An image with more patches than a batch
    is divided; its number of patches is estimated by its size, so that a segment may be empty.

    Args:
        images: all images; a random cutout draws by the number of an image among them.
        chosen: the numbers of those whose patches are taken.
        channels, image_size: of the images after decoding; image_size=None: they keep their size.
        patches_per_batch: N, at most.
        white, max_megapixels: see decode.
        level, magnification, tissue, tissue_threshold: of large images, see FileReader.
    """

    def __init__(
        self,
        images: ImageList,
        chosen: Sequence[int],
        cutout: PatchCutout,
        channels: int,
        image_size: Sequence[int] | None,
        patches_per_batch: int,
        num_workers: int | None,
        white: float | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        level: int = 0,
        magnification: float | None = None,
        tissue: float | None = None,
        tissue_threshold: float = 0.07,
    ) -> None:
        if channels not in (1, 3):
            raise UserError(f"the embedding takes {channels} channels: files are read as grey (1) or RGB (3)")
        self.images, self.cutout, self.channels = images, cutout.eval(), channels
        self.size = None if image_size is None or images.large else (image_size[0], image_size[1])
        self.patches_per_batch, self.num_workers = patches_per_batch, num_workers
        self.reader: FileReader | None = None
        self.numbers = list(chosen)  # of an image of the reader, or the source, among all images
        if images.large:
            paths = [images.path(number) for number in self.numbers]
            self.reader = FileReader(paths, channels, level, magnification, tissue, tissue_threshold)
        else:
            names = {"": [images.names[number] for number in self.numbers]}
            shape = (channels, *(self.size or ()))
            limit = "files.max_megapixels"
            self.source = FileSource(images.root, names, [0], shape, white, max_megapixels, limit)
        self.batches = list(self._divided())
        self._opened: tuple[int, Any, Tensor] | None = None  # the last image, and its corners

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        found, segments = [], []
        for item, first, end in self.batches[number]:
            image, is_last = self.numbers[item], end == REST
            corners_n2 = torch.empty(0, 2, dtype=torch.int64)
            problem = None
            try:
                pixels, corners_P2 = self._open(item)
                if first < len(corners_P2):
                    corners_n2 = corners_P2[first:end]
                    found.append(self.cutout.cut(pixels, SetBatch.from_list([corners_n2])).values)
            except (UserError, ValueError) as error:
                problem = self._explained(item, error)
            segments.append(Segment(image, corners_n2, first == 0, is_last, problem))
        none = torch.empty(0, self.channels, self.cutout.size, self.cutout.size, dtype=torch.uint8)
        return torch.cat(found) if found else none, segments

    def loader(self) -> DataLoader[Any]:
        workers = self.num_workers
        if self.reader is not None:
            workers = 0  # it reads in threads
        elif workers is None:
            workers = suggested_max_num_workers(1) if len(self.numbers) > FEW else 0
        warnings.filterwarnings("ignore", ".* does not have many workers")
        settings: dict[str, Any] = {"collate_fn": identity_collate, "generator": torch.Generator()}
        settings["multiprocessing_context"] = start_method(workers)
        return DataLoader(self, batch_size=None, num_workers=workers, **settings)

    def _open(self, item: int) -> tuple[Any, Tensor]:
        """Return an image, as a tensor [1, C, H, W] or as LazyImages, and the corners of all its patches [P, 2]."""
        if self._opened is None or self._opened[0] != item:
            self._opened = None  # first, so that two images need no memory at a time
            if self.reader is None:
                pixels: Any = self.source.image(item)[None]
            elif item in self.reader.problems:
                raise UserError(f"{self.reader.paths[item]}: {self.reader.problems[item]}")
            else:
                pixels = LazyImages(self.reader, [item])
            corners = self.cutout.positions(pixels, torch.tensor([self.numbers[item]]))
            self._opened = item, pixels, corners.values
        return self._opened[1:]

    def _explained(self, item: int, error: Exception) -> str:
        """Return why an image cannot be used, after its name."""
        path = self.images.path(self.numbers[item])
        return printable(error if str(error).startswith(str(path)) else f"{path}: {error}")

    def _divided(self) -> Iterator[list[tuple[int, int, int]]]:
        """Yield the item of each segment of a batch, and where it begins and ends among the patches of its image."""
        batch: list[tuple[int, int, int]] = []
        room = self.patches_per_batch
        for item in range(len(self.numbers)):
            left, first = self._number_of_patches(item), 0
            while True:
                if batch and (room == 0 or (left > room and first == 0)):
                    yield batch
                    batch, room = [], self.patches_per_batch
                taken = min(left, room)
                left -= taken
                batch.append((item, first, first + taken if left else REST))
                first, room = first + taken, room - taken
                if not left:
                    break
        if batch:
            yield batch

    def _number_of_patches(self, item: int) -> int:
        """Return about how many patches an image has: fewer with `tissue`; 1 if it cannot be read."""
        if self.cutout.count is not None:
            return self.cutout.count[1]
        height_width = self.reader.sizes[item] if self.reader else self.size or self._stated_size(item)
        return 1 if min(height_width) < self.cutout.size else self.cutout.regular_number(height_width)

    def _stated_size(self, item: int) -> tuple[int, int]:
        """Return height and width as the file states them, before it is turned upright; (0, 0) if it cannot be read."""
        from PIL import Image

        path = self.images.path(self.numbers[item])
        try:
            content: Any = path if self.images.root.is_dir() else io.BytesIO(self.source.read(item))
            with warnings.catch_warnings(action="ignore"), Image.open(content, formats=READ) as image:
                return image.height, image.width
        except Exception:  # Pillow's plugins raise OSError, SyntaxError, struct.error, and others: explained when read
            return 0, 0
