"""Large images in files, and what they hold."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
import zarr


def pixels(height: int, width: int, depth: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, depth), dtype=np.uint8)


def write(path: Path, image: np.ndarray, tile: int = 64, levels: int = 1) -> Path:
    """Write an image [H, W, C] as what the ending says, a TIFF or .zarr in tiles and with smaller levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyramid = [means(image, 2**k) for k in range(levels)]
    if path.suffix == ".npy":
        np.save(path, image)
    elif path.suffix == ".zarr":
        group = zarr.open_group(path, mode="w")
        for k, level in enumerate(pyramid):
            group.create_array(str(k), shape=level.shape, chunks=(tile, tile, level.shape[2]), dtype="uint8")[:] = level
        group.attrs["multiscales"] = [{"datasets": [{"path": str(k)} for k in range(levels)]}]
    else:
        kind = {"photometric": "rgb" if image.shape[2] == 3 else "minisblack", "compression": "zlib"}
        with tifffile.TiffWriter(path) as tiff:
            for k, level in enumerate(pyramid):
                which = {"subifds": levels - 1} if k == 0 else {"subfiletype": 1}
                tiff.write(level, tile=(tile, tile), **which, **kind)
    return path


def means(image: np.ndarray, scale: int) -> np.ndarray:
    """Return the means of scale x scale pixels, without the last that are not whole."""
    height, width = (side // scale * scale for side in image.shape[:2])
    cells = image[:height, :width].reshape(height // scale, scale, width // scale, scale, -1)
    return np.round(cells.mean((1, 3))).astype(np.uint8)


def write_sparse_tiff(path: Path, side: int, tile: int, value: int, filled: int) -> Path:
    """Write a pyramid of side x side RGB pixels in which only every `filled`-th tile is not black but has one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    one = np.full((tile, tile, 3), value, np.uint8)

    def tiles(length: int) -> Iterator[np.ndarray | None]:
        for number in range((-(-length // tile)) ** 2):
            yield one if number % filled == 0 else None

    lengths = [side // 2**k for k in range(5)]
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for k, length in enumerate(lengths):
            which = {"subifds": len(lengths) - 1} if k == 0 else {"subfiletype": 1}
            shape = {"shape": (length, length, 3), "dtype": "uint8", "tile": (tile, tile)}
            tiff.write(tiles(length), photometric="rgb", compression="zlib", **shape, **which)
    return path
