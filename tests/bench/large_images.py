"""Patches of large images in files, against reading the same patches with the bare libraries, one after the other.

Files of 4096 x 4096 RGB in tiles of 256: .npy, .zarr and a TIFF (deflate), in the system's cache. Both sides make a
batch uint8 [N, C, p, p]. CPU seconds of all threads.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
import torch
import zarr
from timing import cpu_seconds, in_turn, ratio, row
from torch import Tensor

from datamodule.large_images import FileReader
from set_module.lazy_images import LazyImages
from set_module.patch_cutout import PatchCutout
from set_module.set_batch import SetBatch

SIDE, TILE, PATCH, NUMBER = 4096, 256, 224, 64


def write(folder: Path) -> dict[str, Path]:
    """Write one image in three kinds of files; smooth, so that it is compressed as photographs are."""
    noise = torch.randint(256, (1, 3, SIDE // 16, SIDE // 16), generator=torch.Generator().manual_seed(0)).float()
    image_CHW = torch.nn.functional.interpolate(noise, size=(SIDE, SIDE), mode="bilinear")[0].byte()
    image = image_CHW.permute(1, 2, 0).contiguous().numpy()
    paths = {kind: folder / f"image.{kind}" for kind in ("npy", "zarr", "tif")}
    np.save(paths["npy"], image)
    zarr.create_array(paths["zarr"], shape=image.shape, chunks=(TILE, TILE, 3), dtype="uint8")[:] = image
    tifffile.imwrite(paths["tif"], image, tile=(TILE, TILE), photometric="rgb", compression="zlib")
    return paths


def bare(kind: str, path: Path) -> Callable[[Tensor], Tensor]:
    """Return a function that reads a batch of the patches at corners [n, 2], as the library's documentation does."""
    if kind == "npy":
        array = np.load(path, mmap_mode="r")
    elif kind == "zarr":
        array = zarr.open(path, mode="r")
    else:
        array = zarr.open(tifffile.imread(path, aszarr=True), mode="r")

    def read(corners_n2: Tensor) -> Tensor:
        patches = np.stack([array[y : y + PATCH, x : x + PATCH] for y, x in corners_n2.tolist()])
        return torch.from_numpy(patches).permute(0, 3, 1, 2).contiguous()

    return read


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        for kind, path in write(Path(name)).items():
            images = LazyImages(FileReader([path], 3, 0, None), [0])
            random, grid = (PatchCutout(PATCH, *count, mode=mode) for mode, *count in (("random", NUMBER), ("grid",)))
            for way, cutout in (("random", random), ("grid", grid)):
                corners = cutout.positions(images, torch.tensor([0]))
                chosen = SetBatch(corners.values[:NUMBER], [NUMBER])
                library = bare(kind, path)
                assert torch.equal(images.read(chosen, PATCH), library(chosen.values))
                sides: dict[str, Callable[[], object]] = {
                    "library": lambda read=library, at=chosen: read(at.values),
                    "ours": lambda of=images, at=chosen: of.read(at, PATCH),
                }
                figures = in_turn({side: lambda call=call: cpu_seconds(call) for side, call in sides.items()})
                per_second = NUMBER / sorted(figures["library"])[len(figures["library"]) // 2]
                row(f"{kind}, {way}: the library, patches in a CPU second", f"{per_second:.0f}")
                row(f"{kind}, {way}: ours / the library", ratio(figures["ours"], figures["library"]), "goal <= 1.3")
