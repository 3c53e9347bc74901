"""Images that are read where patches are cut: they may be larger than memory, of different sizes, or painted on demand.

A reader is one object for each kind of image; a batch of its images takes the place of a tensor [B, C, H, W].
"""

# B images, N patches in all, n of one image, C H W of an image, h w of a thumbnail, p side of a patch

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor

from set_module.set_batch import SetBatch

CHUNK = 2**20  # bytes of patches that a thread reads at a time
TILE = 512  # pixels on a side that a thumbnail reads at a time
THREADS = 8  # at least, as threads wait for a disk


class ImageReader(ABC):
    """Base class of what reads patches of images by their number, from files or by painting what is asked for.

    A subclass says `channels`, and defines `size` and `read`. Both are called in several threads at once. What it does
    not define, `thumbnail`, reads the whole image, one part after the other.
    """

    channels: int

    @abstractmethod
    def size(self, item: int) -> tuple[int, int]:
        """Return the height and the width of an image."""

    @abstractmethod
    def read(self, item: int, corners_n2: Tensor, size: int) -> Tensor:
        """Return the patches whose upper left corners (y, x) are given, on the CPU, int64 [n, 2] -> uint8 [n, C, p, p].

        All of them lie inside of the image.
        """

    def squares(self, item: int, size: int) -> tuple[Tensor, int] | None:
        """Return the first corners [M, 2] and the side of squares of places, if only these places may be chosen.

        A first corner is a multiple of the side. A reader returns squares of all its images, or of none.
        """
        return None

    def thumbnail(self, item: int, scale: int) -> Tensor:
        """Return the means of scale x scale pixels, those at the lower and right edge of fewer: uint8 [C, h, w]."""
        height, width = self.size(item)
        return cell_means(lambda corners_n2, size: self.read(item, corners_n2, size), height, width, scale)


def cell_means(read: Callable[[Tensor, int], Tensor], height: int, width: int, scale: int) -> Tensor:
    """Return the means of scale x scale pixels, uint8 [C, h, w], of an image that read(corners [1, 2], p) reads."""
    tile = min(TILE, height, width)
    sum_Chw: Tensor | None = None
    for y in range(0, height, tile):
        row = min(y, height - tile)
        for x in range(0, width, tile):
            column = min(x, width - tile)
            pixels_CHW = read(torch.tensor([[row, column]]), tile)[0, :, y - row :, x - column :]
            if sum_Chw is None:
                sum_Chw = torch.zeros(len(pixels_CHW), -(-height // scale), -(-width // scale))
            cell_H, cell_W = torch.arange(y, row + tile) // scale, torch.arange(x, column + tile) // scale
            first_h, first_w = int(cell_H[0]), int(cell_W[0])
            high, wide = int(cell_H[-1]) - first_h + 1, int(cell_W[-1]) - first_w + 1
            rows_ChW = torch.zeros(len(pixels_CHW), high, len(cell_W))
            rows_ChW.index_add_(1, cell_H - first_h, pixels_CHW.float())
            part_Chw = torch.zeros(len(pixels_CHW), high, wide).index_add_(2, cell_W - first_w, rows_ChW)
            sum_Chw[:, first_h : first_h + high, first_w : first_w + wide] += part_Chw
    assert sum_Chw is not None
    count_hw = _counts(height, scale)[:, None] * _counts(width, scale)
    return sum_Chw.div_(count_hw).round_().to(torch.uint8)


class LazyImages:
    """A batch of B images [C, H_b, W_b] that are read where patches are cut; what is read is uint8, on `device`.

    It takes the place of images [B, C, H, W] in PatchCutout, and moves between devices as they do: only what is read
    goes there. `items` are the numbers of the images in their reader, `sizes_B2` their heights and widths, on the CPU.
    A slice, a mask or numbers give a smaller batch.
    """

    def __init__(self, reader: ImageReader, items: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.reader, self.items, self.device = reader, list(items), torch.device(device)
        if not self.items:
            raise ValueError("no image was given: a batch has at least one")
        self.sizes_B2 = torch.tensor([reader.size(item) for item in self.items])
        self._ahead: tuple[SetBatch, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def channels(self) -> int:
        return self.reader.channels

    @property
    def shape(self) -> torch.Size:
        """Return [B, C, H, W] of images of one size; raise a ValueError for images of different sizes."""
        if len(self) > 1 and not (self.sizes_B2 == self.sizes_B2[0]).all():
            raise ValueError("images of different sizes have no shape: choose a selection of random, grid or all")
        return torch.Size([len(self), self.channels, *self.sizes_B2[0].tolist()])

    def last_corners(self, size: int) -> Tensor:
        """Return the last corner of a patch in each image, [B, 2]; raise a ValueError if a patch is larger than one."""
        last_B2 = self.sizes_B2 - size
        if int(last_B2.min()) < 0:
            smallest = int(self.sizes_B2.min())
            height, width = self.sizes_B2[int(last_B2.amin(1).argmin())].tolist()
            raise ValueError(f"patch_size={size} exceeds an image of {height}x{width}: choose <= {smallest}")
        return last_B2

    def squares(self, size: int) -> list[tuple[Tensor, int]] | None:
        """Return the squares of places that may be chosen in each image, see ImageReader; None: every place may be."""
        if self.reader.squares(self.items[0], size) is None:
            return None
        found = _threads(os.getpid()).map(lambda item: self.reader.squares(item, size), self.items)
        return [each for each in found if each is not None]

    def read(self, corners: SetBatch, size: int) -> Tensor:
        """Return the patches at corners (y, x), SetBatch of int64 [N, 2] -> uint8 [N, C, p, p] on `device`."""
        corners = placed_on_cpu(corners)
        if self._ahead is not None and self._ahead[1].shape[-1] == size and _equal(self._ahead[0], corners):
            patches = self._ahead[1]
        else:
            patches = self._read(corners, size)
        return patches.to(self.device, non_blocking=True)

    def read_ahead(self, corners: SetBatch, size: int) -> None:
        """Read patches now, and keep them for the `read` that asks for the same ones."""
        corners = placed_on_cpu(corners)
        self._ahead = corners, self._read(corners, size)

    def thumbnails(self, scale: int) -> Tensor:
        """Return the means of scale x scale pixels, uint8 [B, C, h, w] on `device`.

        h and w are those of the largest image, ceil(H / scale) and ceil(W / scale); zeros fill smaller ones.
        """
        if scale < 1:
            raise ValueError(f"{scale=}: choose a whole number >= 1")
        sizes_B2 = -(-self.sizes_B2 // scale)
        images_BChw = torch.zeros(len(self), self.channels, *sizes_B2.amax(0).tolist(), dtype=torch.uint8)
        found = _threads(os.getpid()).map(lambda item: self.reader.thumbnail(item, scale), self.items)
        for image_Chw, thumbnail_Chw in zip(images_BChw, found, strict=True):
            image_Chw[:, : thumbnail_Chw.shape[1], : thumbnail_Chw.shape[2]] = thumbnail_Chw
        return images_BChw.to(self.device, non_blocking=True)

    def pictures(self, side: int) -> list[Tensor]:
        """Return each image, smaller by a whole number so that no side exceeds `side`: uint8 [C, h, w] on the CPU."""
        scales = (-(-self.sizes_B2.amax(1) // side)).tolist()
        return list(_threads(os.getpid()).map(self.reader.thumbnail, self.items, scales))

    def to(self, device: torch.device | str | int, non_blocking: bool = False) -> "LazyImages":
        moved = LazyImages.__new__(LazyImages)
        moved.__dict__.update(self.__dict__)
        moved.device = torch.device(device)
        if self._ahead is not None:
            moved._ahead = self._ahead[0], self._ahead[1].to(device, non_blocking=non_blocking)
        return moved

    def pin_memory(self) -> "LazyImages":
        """Return the same images; what was read ahead is in pinned memory."""
        pinned = self.to(self.device)
        if self._ahead is not None:
            pinned._ahead = self._ahead[0], self._ahead[1].pin_memory()
        return pinned

    def clone(self) -> "LazyImages":
        return self.to(self.device)

    def __getitem__(self, key: slice | list[int] | Tensor) -> "LazyImages":
        chosen = torch.arange(len(self))[key.cpu() if isinstance(key, Tensor) else key]
        if chosen.ndim != 1:
            raise IndexError("a batch of images has one dimension: give a slice, a mask or a list of numbers")
        return LazyImages(self.reader, [self.items[b] for b in chosen.tolist()], self.device)

    def __repr__(self) -> str:
        (height, width), (lowest, narrowest) = (self.sizes_B2.amax(0).tolist(), self.sizes_B2.amin(0).tolist())
        return f"LazyImages({len(self)} of {lowest}x{narrowest} to {height}x{width}, {self.channels} channels)"

    def _read(self, corners: SetBatch, size: int) -> Tensor:
        with torch.inference_mode(False):  # which is a mode of this thread alone
            patches = torch.empty(len(corners.values), self.channels, size, size, dtype=torch.uint8)
        most = max(1, CHUNK // (self.channels * size * size))

        def fill(chunk: tuple[int, slice]) -> None:
            item, rows = chunk
            patches[rows] = self.reader.read(item, corners.values[rows], size)

        chunks = list(self._chunks(corners.lengths.tolist(), most))
        if len(chunks) == 1:
            fill(chunks[0])
        else:
            for _ in _threads(os.getpid()).map(fill, chunks):
                pass
        return patches

    def _chunks(self, lengths: list[int], most: int) -> Iterator[tuple[int, slice]]:
        """Yield the number of an image and which patches of the batch are read of it, at most `most` at a time."""
        first = 0
        for item, length in zip(self.items, lengths, strict=True):
            for start in range(first, first + length, most):
                yield item, slice(start, min(start + most, first + length))
            first += length


class PlacedCorners(SetBatch):
    """Corners [N, 2] in images of any size, and `relative`, 0 to 1 from the first to the last place, float [N, 2]."""

    relative: Tensor
    on_cpu: SetBatch

    @classmethod
    def of(cls, corners: SetBatch, last_B2: Tensor, device: torch.device) -> "PlacedCorners":
        """Return corners with their relative positions, on a device; last_B2 are the last corners, on the CPU."""
        placed, there = cls.__new__(cls), corners.to(device, non_blocking=True)
        placed.values, placed.lengths, placed.index, placed.max_len = there.values, there.lengths, there.index, 0
        placed.max_len, placed.on_cpu = corners.max_len, corners
        last_N2 = last_B2.index_select(0, corners.index).clamp(min=1)
        placed.relative = (corners.values.float() / last_N2).to(device, non_blocking=True)
        return placed


def placed_on_cpu(corners: SetBatch) -> SetBatch:
    """Return corners on the CPU; a GPU is waited for unless they were made there."""
    return corners.on_cpu if isinstance(corners, PlacedCorners) else corners.to("cpu")


def _equal(one: SetBatch, other: SetBatch) -> bool:
    return torch.equal(one.lengths, other.lengths) and torch.equal(one.values, other.values)


def _counts(length: int, scale: int) -> Tensor:
    """Return the number of pixels in each cell of a side."""
    return torch.full((-(-length // scale),), float(scale)).index_fill_(
        0, torch.tensor([-(-length // scale) - 1]), float((length - 1) % scale + 1)
    )


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Return the threads that read, of one process: those of another are not there after a fork."""
    return ThreadPoolExecutor(max(THREADS, os.cpu_count() or 1), thread_name_prefix="read")
