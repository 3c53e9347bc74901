"""A file of each kind gives the pixels that were written, wherever a patch lies."""

import sys

import numpy as np
import pytest
import tifffile
import torch
import zarr
from large import means, pixels, write
from torch import Tensor

from datamodule.bag_file import UnusableFileError
from datamodule.large_image_file import SlideFile, converted, open_image

HEIGHT, WIDTH = 150, 211
KINDS = ["a.npy", "a.zarr", "a.tif"]


def everywhere(size: int) -> Tensor:
    """Return the corners of patches at all edges, across tiles, and many in one tile, out of order."""
    places = [(y, x) for y in (0, 1, 30, 63, 64, 100) for x in (0, 5, 60, 128)]
    last = (HEIGHT - size, WIDTH - size)
    return torch.tensor([last, *reversed([(min(y, last[0]), min(x, last[1])) for y, x in places])])


def cut(image: np.ndarray, corners: Tensor, size: int) -> Tensor:
    found = [image[y : y + size, x : x + size] for y, x in corners.tolist()]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 10, 90])
@pytest.mark.parametrize("depth", [1, 3])
def test_patches_are_the_pixels_that_were_written(tmp_path, kind, size, depth):
    image = pixels(HEIGHT, WIDTH, depth)
    file = open_image(write(tmp_path / kind, image))
    assert (file.height, file.width, file.depth) == (HEIGHT, WIDTH, depth)
    corners = everywhere(size)
    assert torch.equal(file.patches(corners, size, depth), cut(image, corners, size))
    one = corners[:1]  # a single patch takes another way in .zarr
    assert torch.equal(file.patches(one, size, depth), cut(image, one, size))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_level_is_the_image_of_that_resolution(tmp_path, kind):
    image = pixels(HEIGHT, WIDTH)
    path = write(tmp_path / kind, image, levels=3)
    file = open_image(path, level=1)
    assert (file.height, file.width) == (75, 105)
    assert torch.equal(
        file.patches(torch.tensor([[20, 31]]), 40, 3), cut(means(image, 2), torch.tensor([[20, 31]]), 40)
    )
    assert [(k, (other.height, other.width)) for k, other in open_image(path).levels()] == [
        (4, (37, 52)),
        (2, (75, 105)),
    ]
    with pytest.raises(UnusableFileError, match=r"no level 3: choose data.level <= 2"):
        open_image(path, level=3)


def test_strips_and_uncompressed_tiffs_are_read_too(tmp_path):
    image = pixels(HEIGHT, WIDTH)
    for name, settings in {
        "strips": {"rowsperstrip": 20},
        "plain": {},
        "predicted": {"compression": "zlib", "predictor": True},
    }.items():
        tifffile.imwrite(tmp_path / f"{name}.tiff", image, photometric="rgb", **settings)
        file = open_image(tmp_path / f"{name}.tiff")
        assert torch.equal(file.patches(everywhere(30), 30, 3), cut(image, everywhere(30), 30))


def test_tiles_that_are_not_there_are_black(tmp_path):
    tiles = (None if number % 2 else np.full((16, 16, 3), 200, np.uint8) for number in range(4))
    settings = {"shape": (32, 32, 3), "dtype": "uint8", "tile": (16, 16), "photometric": "rgb"}
    tifffile.imwrite(tmp_path / "a.tif", tiles, **settings)
    (patch,) = open_image(tmp_path / "a.tif").patches(torch.tensor([[0, 0]]), 32, 3)
    expected = torch.zeros(3, 32, 32, dtype=torch.uint8)
    expected[:, :, :16] = 200
    assert torch.equal(patch, expected)


def test_channels_may_come_first_and_axes_of_one_are_left_out(tmp_path):
    image = pixels(HEIGHT, WIDTH)
    np.save(tmp_path / "a.npy", image.transpose(2, 0, 1))
    ome = zarr.create_array(
        tmp_path / "a.zarr", shape=(1, 3, 1, HEIGHT, WIDTH), chunks=(1, 1, 1, 64, 64), dtype="uint8"
    )
    ome[:] = image.transpose(2, 0, 1)[None, :, None]
    np.save(tmp_path / "grey.npy", image[:, :, 0])
    for name, expected in (("a.npy", image), ("a.zarr", image), ("grey.npy", image[:, :, :1])):
        file = open_image(tmp_path / name)
        corners = everywhere(20)
        assert torch.equal(file.patches(corners, 20, expected.shape[2]), cut(expected, corners, 20))


def test_grey_and_rgb_are_converted_into_each_other():
    rgba = torch.from_numpy(pixels(4, 5, 4))
    assert torch.equal(converted(rgba, 3), rgba[..., :3])
    assert torch.equal(converted(rgba[..., :1], 3), rgba[..., :1].expand(-1, -1, 3))
    grey = converted(rgba[..., :3], 1).float()
    weights = torch.tensor([0.299, 0.587, 0.114])
    assert (grey[..., 0] - rgba[..., :3].float() @ weights).abs().max() <= 0.51


class Slide:
    """Stand-in of openslide.OpenSlide: an image in levels, transparent outside."""

    def __init__(self, image, factors):
        self.levels = [means(image, factor) for factor in factors]
        self.dimensions, self.level_downsamples = (image.shape[1], image.shape[0]), tuple(map(float, factors))

    def get_best_level_for_downsample(self, downsample):
        return max(k for k, factor in enumerate(self.level_downsamples) if factor <= downsample)

    def read_region(self, location, level, size):
        from PIL import Image

        x, y = (round(place / self.level_downsamples[level]) for place in location)
        region = Image.new("RGBA", size)
        part = self.levels[level][y : y + size[1], x : x + size[0]]
        region.paste(Image.fromarray(part), (0, 0))
        return region


def test_a_slide_is_read_at_a_level_or_reduced_to_a_magnification():
    image = pixels(128, 192)
    slide = Slide(image, (1, 4))
    whole, quarter, half = SlideFile(slide, 1.0), SlideFile(slide, 4.0), SlideFile(slide, 2.0)
    corners = torch.tensor([[3, 5], [8, 0]])
    assert torch.equal(whole.patches(corners, 20, 3), cut(image, corners, 20))
    assert torch.equal(quarter.patches(corners, 20, 3), cut(means(image, 4), corners, 20))
    assert (half.height, half.width) == (64, 96)
    difference = half.patches(corners, 20, 3).int() - cut(means(image, 2), corners, 20).int()
    assert difference.abs().max() <= 1
    outside = whole.patches(torch.tensor([[120, 0]]), 16, 3)
    assert outside[0, :, 8:].min() == 255


@pytest.mark.parametrize("ending", [".tif"])
def test_openslide_itself_reads_a_pyramid(tmp_path, ending, monkeypatch):
    pytest.importorskip("openslide")
    from datamodule import large_image_file

    image = pixels(600, 700)
    path = write(tmp_path / f"a{ending}", image, tile=128)
    monkeypatch.setattr(large_image_file, "TIFFS", ())
    monkeypatch.setattr(large_image_file, "SLIDES", (ending,))
    file = open_image(path)
    assert isinstance(file, SlideFile)
    corners = torch.tensor([[3, 5], [500, 600]])
    assert torch.equal(file.patches(corners, 90, 3), cut(image, corners, 90))
    with pytest.raises(UnusableFileError, match=r"data.magnification=null and data.level"):
        open_image(path, magnification=20)


@pytest.mark.parametrize(
    ("write_wrong", "message"),
    [
        (lambda path: np.save(path / "a.npy", np.zeros((20, 20), np.uint16)), "uint16, not uint8"),
        (lambda path: np.save(path / "a.npy", np.zeros((5, 20, 20), np.uint8)), r"shape \[5, 20, 20\], not"),
        (lambda path: (path / "a.npy").write_bytes(b"no"), "cannot be read"),
        (lambda path: (path / "a.tif").write_bytes(b"no"), "cannot be read"),
        (lambda path: tifffile.imwrite(path / "a.tif", np.zeros((20, 20), np.uint16)), "uint16, not uint8"),
        (lambda path: tifffile.imwrite(path / "a.tif", np.zeros((5, 20, 20), np.uint8)), "pages of one size"),
        (
            lambda path: zarr.create_array(path / "a.zarr", shape=(9000, 9000), chunks=(9000, 9000), dtype="uint8"),
            "pieces of 9000x9000 pixels: convert it to tiles",
        ),
        (lambda path: zarr.open_group(path / "a.zarr", mode="w"), "0 arrays and no multiscales"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(tmp_path, write_wrong, message):
    write_wrong(tmp_path)
    (path,) = tmp_path.iterdir()
    with pytest.raises(UnusableFileError, match=message) as raised:
        open_image(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "missing"), [("a.tif", "tifffile"), ("a.zarr", "zarr"), ("a.svs", "openslide-python")]
)
def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, kind, missing, monkeypatch):
    (tmp_path / kind).touch()
    monkeypatch.setitem(sys.modules, missing.removesuffix("-python"), None)
    with pytest.raises(UnusableFileError, match=rf"needs {missing}.*\[large\]"):
        open_image(tmp_path / kind)


def test_a_compression_that_cannot_be_decoded_is_named(tmp_path):
    from PIL import Image

    Image.fromarray(pixels(20, 20)).save(tmp_path / "a.tif", compression="jpeg")
    with pytest.raises(UnusableFileError, match="compressed by JPEG: pip install imagecodecs"):
        open_image(tmp_path / "a.tif")


def test_a_magnification_is_of_slides(tmp_path):
    with pytest.raises(UnusableFileError, match=r"data\.magnification=null"):
        open_image(write(tmp_path / "a.tif", pixels(20, 20)), magnification=20)
