"""Images that are read where patches are cut give the patches of the same images as tensors, of any size."""

import threading

import pytest
import torch
from torch import Tensor

from set_module import lazy_images
from set_module.lazy_images import ImageReader, LazyImages, PlacedCorners
from set_module.patch_cutout import PatchCutout
from set_module.set_batch import SetBatch


class TensorReader(ImageReader):
    """Reader of images that are tensors, which counts what is read."""

    def __init__(self, *images: Tensor) -> None:
        self.images, self.channels, self.patches_read = images, len(images[0]), 0
        self.lock = threading.Lock()

    def size(self, item: int) -> tuple[int, int]:
        return self.images[item].shape[1], self.images[item].shape[2]

    def read(self, item: int, corners_n2: Tensor, size: int) -> Tensor:
        with self.lock:
            self.patches_read += len(corners_n2)
        return torch.stack([self.images[item][:, y : y + size, x : x + size] for y, x in corners_n2.tolist()])


class EmptyReader(ImageReader):
    """Reader of black images whose pixels are nowhere."""

    channels = 1

    def __init__(self, *sizes: tuple[int, int]) -> None:
        self.sizes = sizes

    def size(self, item: int) -> tuple[int, int]:
        return self.sizes[item]

    def read(self, item: int, corners_n2: Tensor, size: int) -> Tensor:
        return torch.zeros(len(corners_n2), 1, size, size, dtype=torch.uint8)


def image(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (channels, height, width), dtype=torch.uint8, generator=generator)


def images_of(*sizes: tuple[int, int]) -> LazyImages:
    return LazyImages(TensorReader(*(image(*size, seed=b) for b, size in enumerate(sizes))), range(len(sizes)))


CUTOUTS = {
    "random": PatchCutout(4, (1, 9), seed=3),
    "distinct": PatchCutout(4, (5, 40), seed=3, replace=False),
    "grid": PatchCutout(4, mode="grid"),
    "stride": PatchCutout(4, mode="grid", stride=3),
    "all": PatchCutout(4, mode="all"),
}


@pytest.mark.parametrize("cutout", CUTOUTS.values(), ids=CUTOUTS)
def test_the_patches_are_those_of_a_tensor(cutout: PatchCutout) -> None:
    lazy = images_of((9, 11), (9, 11), (9, 11))
    images_BCHW, index_B = torch.stack(lazy.reader.images), torch.tensor([7, 0, 5])
    patches, corners = cutout(lazy, index_B), cutout.positions(lazy, index_B)
    expected = cutout(images_BCHW, index_B)
    assert torch.equal(patches.values, expected.values)
    assert torch.equal(patches.lengths, expected.lengths)
    assert (corners.max_len, patches.max_len) == (expected.max_len, expected.max_len)
    assert torch.equal(corners.values, cutout.positions(images_BCHW, index_B).values)


@pytest.mark.parametrize("cutout", CUTOUTS.values(), ids=CUTOUTS)
def test_in_a_batch_of_sizes_each_image_has_the_patches_that_it_has_alone(cutout: PatchCutout) -> None:
    sizes = [(9, 11), (30, 12), (11, 9)]
    lazy, index_B = images_of(*sizes), torch.tensor([7, 0, 5])
    patches = cutout(lazy, index_B)
    for b, each in enumerate(lazy.reader.images):
        assert torch.equal(patches[b], cutout(each[None], index_B[b : b + 1]).values)
        if cutout.mode != "random":
            assert len(patches[b]) == cutout.regular_number(sizes[b])


@pytest.mark.parametrize("replace", [True, False])
def test_places_are_uniform_in_images_of_more_places_than_a_number_of_32_bits_counts(replace: bool) -> None:
    lazy = LazyImages(EmptyReader((150_000, 200_000), (20, 20)), [0, 1])
    corners = PatchCutout(10, 121, seed=0, replace=replace).positions(lazy, torch.tensor([4, 5]))
    assert len(corners[1].unique(dim=0)) == 121 or replace
    many = PatchCutout(10, 4000, seed=0).positions(LazyImages(EmptyReader((150_000, 200_000)), [0]), torch.tensor([4]))
    for axis, length in ((0, 150_000), (1, 200_000)):
        counts = (many.values[:, axis] * 20 // (length - 9)).bincount(minlength=20)
        assert len(counts) == 20
        assert ((counts - 200) ** 2 / 200).sum() < 50  # chi-square of 19 degrees of freedom
    assert corners[0].max() > 2**15


class SquaresReader(EmptyReader):
    """Reader whose places are those of two squares of 4 x 4 in each image."""

    def squares(self, item: int, size: int) -> tuple[Tensor, int]:
        return torch.tensor([[0, 8], [12 + 4 * item, 4]]), 4


def test_only_places_in_the_squares_of_a_reader_are_chosen() -> None:
    lazy, index_B = LazyImages(SquaresReader((40, 50), (40, 50)), [0, 1]), torch.arange(2)
    for cutout in (PatchCutout(5, 32, replace=False), PatchCutout(5, mode="all")):
        corners = cutout.positions(lazy, index_B)
        for b, row in enumerate((12, 16)):
            expected = {(y, x) for y in range(4) for x in range(8, 12)} | {
                (y, x) for y in range(row, row + 4) for x in range(4, 8)
            }
            assert sorted(map(tuple, corners[b].tolist())) == sorted(expected)
    many = PatchCutout(5, 4000).positions(lazy, index_B)
    counts = (many[0][:, 0] * 50 + many[0][:, 1]).unique(return_counts=True)[1]
    assert len(counts) == 32
    assert ((counts - 125) ** 2 / 125).sum() < 75  # chi-square of 31 degrees of freedom
    grid = PatchCutout(5, mode="grid").positions(lazy, index_B)
    assert all(0 <= y < 4 and 8 <= x < 12 for y, x in grid[0].tolist() if y < 12)


def test_relative_positions_reach_from_0_to_1_in_each_image() -> None:
    corners = PatchCutout(4, mode="all").positions(images_of((9, 11), (30, 12), (4, 8)), torch.arange(3))
    assert isinstance(corners, PlacedCorners)
    for b, last in enumerate(([1.0, 1.0], [1.0, 1.0], [0.0, 1.0])):  # a patch as high as the image has one row
        relative_n2 = corners.relative[corners.index == b]
        assert relative_n2.amin(0).tolist() == [0, 0]
        assert relative_n2.amax(0).tolist() == last


def test_what_was_read_ahead_is_read_once_and_other_places_are_read_anew() -> None:
    lazy, cutout = images_of((9, 11), (30, 12)), PatchCutout(4, 6, seed=0)
    corners = cutout.positions(lazy, torch.arange(2))
    expected = cutout.cut(lazy, corners).values
    before = lazy.reader.patches_read
    lazy.read_ahead(corners, 4)
    assert lazy.reader.patches_read == before + 12
    moved = lazy.to("cpu")
    assert torch.equal(moved.read(corners, 4), expected)
    assert torch.equal(lazy.read(SetBatch(corners.values.clone(), corners.lengths), 4), expected)
    assert lazy.reader.patches_read == before + 12
    other = cutout.positions(lazy, torch.arange(2) + 5)
    assert not torch.equal(lazy.read(other, 4), expected)
    assert lazy.read(corners, 3).shape == (12, 3, 3, 3)
    assert lazy.reader.patches_read == before + 36


def test_threads_read_in_chunks_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy, cutout = images_of((9, 11), (30, 12)), PatchCutout(4, (1, 50), seed=0)
    expected = cutout(lazy).values
    monkeypatch.setattr(lazy_images, "CHUNK", 3 * 4 * 4 * 7)
    assert torch.equal(cutout(lazy).values, expected)


def test_threads_read_in_inference_mode_too() -> None:
    lazy, cutout = images_of((9, 11), (30, 12)), PatchCutout(4, (1, 50), seed=0)
    expected = cutout(lazy).values
    with torch.inference_mode():
        assert torch.equal(cutout(lazy).values, expected)
        assert lazy.thumbnails(3).shape == (2, 3, 10, 4)


@pytest.mark.parametrize("scale", [1, 2, 3, 8, 40])
def test_a_thumbnail_is_the_mean_of_the_pixels(scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_images, "TILE", 7)
    sizes = [(9, 23), (30, 12)]
    lazy = images_of(*sizes)
    thumbnails = lazy.thumbnails(scale)
    assert thumbnails.shape == (2, 3, -(-30 // scale), -(-23 // scale))
    for thumbnail, each, (height, width) in zip(thumbnails, lazy.reader.images, sizes, strict=True):
        for y in range(-(-height // scale)):
            for x in range(-(-width // scale)):
                cell = each[:, y * scale : (y + 1) * scale, x * scale : (x + 1) * scale]
                assert torch.equal(thumbnail[:, y, x], cell.float().mean((1, 2)).round().to(torch.uint8))
        assert not thumbnail[:, -(-height // scale) :].any()
        assert not thumbnail[:, :, -(-width // scale) :].any()


def test_a_part_of_a_batch_reads_its_own_images() -> None:
    lazy, cutout = images_of((9, 11), (30, 12), (8, 8)), PatchCutout(4, 2, seed=0)
    chosen = lazy[torch.tensor([True, False, True])]
    assert torch.equal(cutout(chosen, torch.tensor([0, 2])).values, cutout(lazy)[[0, 2]].values)
    assert lazy[:1].shape == (1, 3, 9, 11)


def test_bad_requests_say_what_to_do() -> None:
    lazy = images_of((9, 11), (6, 12))
    with pytest.raises(ValueError, match="patch_size=7 exceeds an image of 6x12: choose <= 6"):
        PatchCutout(7, 2)(lazy)
    with pytest.raises(ValueError, match="patch_num=50 exceeds the 27 places: choose <= 27"):
        PatchCutout(4, 50, replace=False)(lazy)
    with pytest.raises(ValueError, match="different sizes have no shape"):
        _ = lazy.shape
    with pytest.raises(ValueError, match="at least one"):
        LazyImages(lazy.reader, [])
    with pytest.raises(ValueError, match="stride=0"):
        PatchCutout(4, mode="grid", stride=0)
