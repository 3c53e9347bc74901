"""The file of one large image: .npy, .zarr, TIFF or a slide, of which only the parts that are asked for are read."""

# n patches, C H W of the image, p side of a patch, h w of a thumbnail

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodule.bag_file import UnusableFileError
from process.errors import first_line

Pixels = NDArray[np.uint8]

TIFFS = (".tif", ".tiff")
SLIDES = (".bif", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".vms", ".vmu")
MOST_PIXELS = 2**26  # of one piece of a file, which is read whole
EXTRA = "pip install '.[large]'"
NEAR = 0.01  # two magnifications that differ by less are the same


class LargeImageFile(ABC):
    """An open file; `height`, `width` and `depth` are those of the image, `depth` the channels in the file.

    It may be read in several threads at once.
    """

    height: int
    width: int
    depth: int

    @abstractmethod
    def read_into(self, patches: Pixels, corners: list[list[int]]) -> None:
        """Fill patches [n, p, p, depth] with those at corners (y, x)."""

    def levels(self) -> Iterator["tuple[int, LargeImageFile]"]:
        """Yield smaller versions of the image, the smallest first, each with the whole number that it is smaller by."""
        yield from ()

    def patches(self, corners_n2: Tensor, size: int, channels: int) -> Tensor:
        """Return patches uint8 [n, C, p, p]."""
        found = np.empty((len(corners_n2), size, size, self.depth), np.uint8)
        self.read_into(found, corners_n2.tolist())
        return converted(torch.from_numpy(found), channels).permute(0, 3, 1, 2)


class ArrayFile(LargeImageFile):
    """A memory-mapped array [H, W], [H, W, C] or [C, H, W]."""

    def __init__(self, array: Any) -> None:
        self.array, self.first = array, _channels_first(array.shape, array.dtype)
        *sides, self.depth = _sides(array.shape, self.first)
        self.height, self.width = sides

    def region(self, y: int, x: int, height: int, width: int) -> Pixels:
        """Return a part of the image, [height, width, depth]."""
        rows, columns = slice(y, y + height), slice(x, x + width)
        if self.array.ndim == 2:
            return np.asarray(self.array[rows, columns])[:, :, None]
        if self.first:
            return np.asarray(self.array[:, rows, columns]).transpose(1, 2, 0)
        return np.asarray(self.array[rows, columns])

    def read_into(self, patches: Pixels, corners: list[list[int]]) -> None:
        size = patches.shape[1]
        for patch, (y, x) in zip(patches, corners, strict=True):
            patch[...] = self.region(y, x, size, size)


class TiledFile(LargeImageFile):
    """A file that is decoded tile by tile: each tile that patches need is decoded once, and then forgotten."""

    tile_height: int
    tile_width: int

    @abstractmethod
    def tile(self, row: int, column: int) -> Pixels | None:
        """Return one tile, [height, width, depth], as large or larger than its part of the image; None: all zeros."""

    def read_into(self, patches: Pixels, corners: list[list[int]]) -> None:
        size, high, wide = patches.shape[1], self.tile_height, self.tile_width
        wanted: dict[tuple[int, int], list[int]] = {}
        for number, (y, x) in enumerate(corners):
            for row in range(y // high, (y + size - 1) // high + 1):
                for column in range(x // wide, (x + size - 1) // wide + 1):
                    wanted.setdefault((row, column), []).append(number)
        for (row, column), numbers in sorted(wanted.items()):
            tile = self.tile(row, column)
            for number in numbers:
                y, x = corners[number][0] - row * high, corners[number][1] - column * wide  # of the patch in the tile
                rows, columns = slice(max(y, 0), min(y + size, high)), slice(max(x, 0), min(x + size, wide))
                into = patches[number, rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
                into[...] = 0 if tile is None else tile[rows, columns]


class ZarrFile(TiledFile):
    """An array [H, W], [H, W, C] or [C, H, W] of a .zarr, whose tiles are its chunks."""

    def __init__(self, array: Any, others: list[Any]) -> None:
        self.whole, self.others = ArrayFile(array), others
        self.height, self.width, self.depth = self.whole.height, self.whole.width, self.whole.depth
        chunks = array.chunks[1:] if self.whole.first else array.chunks[:2]
        self.tile_height, self.tile_width = chunks
        _check_piece(*chunks)

    def tile(self, row: int, column: int) -> Pixels:
        y, x = row * self.tile_height, column * self.tile_width
        return self.whole.region(y, x, self.tile_height, self.tile_width)

    def read_into(self, patches: Pixels, corners: list[list[int]]) -> None:
        size, high, wide = patches.shape[1], self.tile_height, self.tile_width
        tiles = {
            (row, column)
            for y, x in corners
            for row in range(y // high, (y + size - 1) // high + 1)
            for column in range(x // wide, (x + size - 1) // wide + 1)
        }
        if len(tiles) < len(corners):
            super().read_into(patches, corners)
        else:
            self.whole.read_into(patches, corners)

    def levels(self) -> Iterator[tuple[int, LargeImageFile]]:
        yield from _whole_factors(self, [ZarrFile(array, []) for array in self.others])


class TiffFile(TiledFile):
    """A page of a TIFF, whose tiles, or strips, are decoded as they are needed. A tile that is absent is black."""

    def __init__(self, path: Path, page: Any, smaller: list[Any]) -> None:
        self.path, self.page, self.smaller = path, page, smaller
        self.height, self.width, self.depth = page.imagelength, page.imagewidth, page.samplesperpixel
        if page.is_tiled:
            self.tile_height, self.tile_width = page.tilelength, page.tilewidth
        else:
            self.tile_height, self.tile_width = min(page.rowsperstrip, page.imagelength), page.imagewidth
        self.in_row = -(-self.width // self.tile_width)
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def tile(self, row: int, column: int) -> Pixels | None:
        number = row * self.in_row + column
        count = self.page.databytecounts[number]
        if count == 0:
            return None
        data = os.pread(self.descriptor, count, self.page.dataoffsets[number])
        decoded, _, _ = self.page.decode(data, number, jpegtables=self.page.jpegtables, _fullsize=True)
        return decoded[0]

    def levels(self) -> Iterator[tuple[int, LargeImageFile]]:
        yield from _whole_factors(self, [TiffFile(self.path, page, []) for page in self.smaller])


class SlideFile(LargeImageFile):
    """A slide that OpenSlide reads, at 1 / `downsample` of its highest resolution; transparent pixels are white."""

    depth = 3

    def __init__(self, slide: Any, downsample: float) -> None:
        self.slide, self.downsample = slide, downsample
        self.width, self.height = (int(side / downsample) for side in slide.dimensions)
        self.level = slide.get_best_level_for_downsample(downsample * (1 + NEAR))
        self.factor = downsample / slide.level_downsamples[self.level]
        if abs(self.factor - 1) < NEAR:
            self.factor = 1.0

    def read_into(self, patches: Pixels, corners: list[list[int]]) -> None:
        from PIL import Image

        size = patches.shape[1]
        side = max(1, round(size * self.factor))
        for patch, (y, x) in zip(patches, corners, strict=True):
            place = round(x * self.downsample), round(y * self.downsample)
            region = self.slide.read_region(place, self.level, (side, side))
            image = Image.new("RGB", region.size, "white")
            image.paste(region, mask=region.getchannel("A"))
            patch[...] = image if side == size else image.resize((size, size), Image.Resampling.BOX)

    def levels(self) -> Iterator[tuple[int, LargeImageFile]]:
        last = self.slide.level_downsamples[-1] / self.downsample
        for factor in (2**k for k in range(12, 0, -1)):
            if factor <= last * (1 + NEAR):
                yield factor, SlideFile(self.slide, self.downsample * factor)


def open_image(path: Path, level: int = 0, magnification: float | None = None) -> LargeImageFile:
    """Open the file of an image. Raises UnusableFileError that says what is wrong with it.

    Args:
        level: of a pyramid, 0 is the highest resolution, 1 the next.
        magnification: of a slide, such as 20, in place of `level`.
    """
    ending = path.suffix.lower()
    try:
        if magnification is not None and ending not in SLIDES:
            raise UnusableFileError("data.magnification is for slides, this is none: data.magnification=null")
        if ending == ".npy":
            return ArrayFile(np.load(path, mmap_mode="r"))
        if ending == ".zarr":
            return _open_zarr(path, level)
        if ending in TIFFS:
            return _open_tiff(path, level)
        return _open_slide(path, level, magnification)
    except UnusableFileError:
        raise
    except ModuleNotFoundError as error:
        raise UnusableFileError(f"needs {error.name}: {EXTRA}") from error
    except Exception as error:  # of five libraries, which raise what they like
        raise UnusableFileError(f"cannot be read ({first_line(error)})") from error


def _open_zarr(path: Path, level: int) -> ZarrFile:
    import zarr

    found: Any = zarr.open(path, mode="r")
    if isinstance(found, zarr.Array):
        arrays: list[Any] = [found]
    else:
        attributes: dict[str, Any] = dict(found.attrs)
        scales = attributes.get("multiscales") or attributes.get("ome", {}).get("multiscales")
        names = [each["path"] for each in scales[0]["datasets"]] if scales else sorted(found.array_keys())
        arrays = [found[name] for name in names]
        if not scales and len(arrays) != 1:
            raise UnusableFileError(f"{len(arrays)} arrays and no multiscales, which would name the image")
    arrays = [_squeezed(array) for array in arrays]
    return ZarrFile(_of_level(arrays, level), arrays[level + 1 :])


def _squeezed(array: Any) -> Any:
    """Return an array [1, C, 1, H, W] of OME-Zarr as [C, H, W]."""
    if array.ndim <= 3:
        return array
    if sum(length > 1 for length in array.shape[:-2]) > 1:
        raise UnusableFileError(f"of the shape {list(array.shape)}, not one image")
    return _Squeezed(array)


class _Squeezed:
    """View [C, H, W] of an array [1, C, 1, H, W], [C, 1, H, W] or the like."""

    def __init__(self, array: Any) -> None:
        self.array, self.dtype, self.ndim = array, array.dtype, 3
        self.channel = next((axis for axis in range(array.ndim - 2) if array.shape[axis] > 1), array.ndim - 3)
        self.shape = (array.shape[self.channel], *array.shape[-2:])
        self.chunks = (array.chunks[self.channel], *array.chunks[-2:])

    def __getitem__(self, key: tuple[slice, slice, slice]) -> Any:
        whole: list[Any] = [0] * (self.array.ndim - 2)
        whole[self.channel] = key[0]
        return self.array[(*whole, *key[1:])]


def _open_tiff(path: Path, level: int) -> LargeImageFile:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series: Any = tiff.series[0]
        pages = [each.pages[0].aspage() for each in series.levels]
        if len(series.levels[0].pages) != 1:
            raise UnusableFileError(f"{len(series.levels[0].pages)} pages of one size, not one image")
        page = _of_level(pages, level)
        try:
            tifffile.TIFF.DECOMPRESSORS[page.compression]
        except KeyError as error:
            name = getattr(page.compression, "name", page.compression)
            raise UnusableFileError(f"compressed by {name}: pip install imagecodecs, or convert it") from error
        if page.dtype != np.uint8:
            raise UnusableFileError(f"{page.dtype}, not uint8")
        if page.samplesperpixel > 1 and page.planarconfig != 1:
            raise UnusableFileError("stored channel by channel: convert it to a tiled TIFF")
        if page.photometric in (tifffile.PHOTOMETRIC.PALETTE, tifffile.PHOTOMETRIC.MINISWHITE):
            raise UnusableFileError(f"of the colours {page.photometric.name}: convert it to RGB or grey")
        _ = page.dataoffsets, page.databytecounts, page.jpegtables, page.decode  # read as long as it is open
        for smaller in pages[level + 1 :]:
            _ = smaller.dataoffsets, smaller.databytecounts, smaller.jpegtables, smaller.decode
    file = TiffFile(path, page, pages[level + 1 :])
    _check_piece(file.tile_height, file.tile_width)
    _check_depth(file.depth)
    return file


def _open_slide(path: Path, level: int, magnification: float | None) -> SlideFile:
    try:
        import openslide
    except ModuleNotFoundError as error:
        raise UnusableFileError(f"needs openslide-python and openslide-bin: {EXTRA}") from error
    slide = openslide.OpenSlide(path)
    if magnification is None:
        return SlideFile(slide, _of_level(list(slide.level_downsamples), level))
    power = slide.properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)
    if power is None:
        raise UnusableFileError("does not say its magnification: set data.magnification=null and data.level")
    if magnification > float(power):
        raise UnusableFileError(f"was scanned at magnification {power}: choose data.magnification <= {power}")
    return SlideFile(slide, float(power) / magnification)


def converted(pixels: Tensor, channels: int) -> Tensor:
    """Return pixels [.., depth] as grey (1 channel) or RGB (3 channels), without an alpha channel."""
    depth = pixels.shape[-1]
    if depth == channels:
        return pixels
    if channels == 3:
        return pixels[..., :1].expand(*pixels.shape[:-1], 3) if depth < 3 else pixels[..., :3]
    if depth < 3:
        return pixels[..., :1]
    red, green, blue = pixels[..., :3].int().unbind(-1)  # ITU-R 601, as Pillow rounds it
    return ((red * 19595 + green * 38470 + blue * 7471 + 2**15) >> 16).to(torch.uint8).unsqueeze(-1)


def _whole_factors(file: LargeImageFile, smaller: list[Any]) -> Iterator[tuple[int, LargeImageFile]]:
    """Yield the smaller versions whose pixels are means of k x k pixels, with k, the smallest first."""
    for other in reversed(smaller):
        factor = round(file.height / other.height)
        if factor > 1 and all(
            own // factor <= side <= -(-own // factor)
            for own, side in ((file.height, other.height), (file.width, other.width))
        ):
            yield factor, other


def _of_level(levels: list[Any], level: int) -> Any:
    if level >= len(levels):
        raise UnusableFileError(f"has no level {level}: choose data.level <= {len(levels) - 1}")
    return levels[level]


def _channels_first(shape: tuple[int, ...], dtype: Any) -> bool:
    """Return whether an array is [C, H, W]. Raises UnusableFileError for one that is no image."""
    if dtype != np.uint8:
        raise UnusableFileError(f"{dtype}, not uint8")
    if len(shape) == 2 or (len(shape) == 3 and shape[2] <= 4):
        return False
    if len(shape) == 3 and shape[0] <= 4:
        return True
    raise UnusableFileError(f"of the shape {list(shape)}, not [H, W], [H, W, C] or [C, H, W]")


def _sides(shape: tuple[int, ...], first: bool) -> tuple[int, int, int]:
    if len(shape) == 2:
        return shape[0], shape[1], 1
    return (shape[1], shape[2], shape[0]) if first else (shape[0], shape[1], shape[2])


def _check_depth(depth: int) -> None:
    if depth not in (1, 2, 3, 4):
        raise UnusableFileError(f"{depth} channels, not 1 to 4")


def _check_piece(height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        raise UnusableFileError(f"stored in pieces of {height}x{width} pixels: convert it to tiles, such as 256x256")
