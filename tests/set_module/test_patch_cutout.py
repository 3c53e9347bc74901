"""Patches are uniform, from the right places, and the same in any batch."""

import pytest
import torch
from torch import Tensor

from set_module.patch_cutout import PatchCutout, cutout_patch2d


def distance_from_uniform(values: Tensor, bins: int) -> float:
    """Return the chi-square of the counts, in its standard deviations."""
    counts = torch.bincount(values.flatten(), minlength=bins).double()
    assert len(counts) == bins
    expected = values.numel() / bins
    return (((counts - expected) ** 2 / expected).sum().item() - (bins - 1)) / (2 * (bins - 1)) ** 0.5


def images_of(b: int, c: int, h: int, w: int) -> Tensor:
    return torch.randint(256, (b, c, h, w), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def blank(*shape: int) -> Tensor:
    return torch.zeros(1).expand(shape)


@pytest.mark.parametrize("count", [3, (1, 6)])
@pytest.mark.parametrize("channels", [1, 3])
def test_patches_are_the_slices_at_their_positions(count, channels):
    images_BCHW = images_of(3, channels, 9, 11)  # as many images as channels and patches: nothing may broadcast
    cutout = PatchCutout(4, count, seed=0)
    patches, corners = cutout(images_BCHW), cutout.positions(images_BCHW, torch.arange(3))
    assert patches.values.shape == (len(patches.index), channels, 4, 4)
    assert patches.values.dtype == torch.uint8
    assert torch.equal(patches.lengths, corners.lengths)
    assert patches.max_len == patches.lengths.max().item()
    for patch, b, (y, x) in zip(patches.values, patches.index, corners.values, strict=True):
        assert torch.equal(patch, images_BCHW[b, :, y : y + 4, x : x + 4])


def test_positions_are_uniform_up_to_the_last_row_and_column():
    cutout = PatchCutout(5, 8, seed=0)
    corners = cutout.positions(blank(4000, 1, 12, 16), torch.arange(4000)).values
    y, x = corners.unbind(1)
    assert (y.min(), y.max(), x.min(), x.max()) == (0, 7, 0, 11)
    assert abs(distance_from_uniform(y * 12 + x, 8 * 12)) < 5
    # two patches of one image are independent
    first, second = (y * 12 + x).view(4000, 8)[:, :2].unbind(1)
    assert abs(distance_from_uniform(first // 12 * 8 + second // 12, 64)) < 5


def test_numbers_are_uniform_with_both_ends():
    lengths = PatchCutout(5, (3, 9), seed=0).positions(blank(7000, 1, 12, 12), torch.arange(7000)).lengths
    assert (lengths.min(), lengths.max()) == (3, 9)
    assert abs(distance_from_uniform(lengths - 3, 7)) < 5


def test_number_and_place_are_independent():
    corners = PatchCutout(9, (1, 4), seed=0).positions(blank(20000, 1, 12, 12), torch.arange(20000))
    first = corners.lengths.cumsum(0) - corners.lengths
    place = corners.values[first] @ torch.tensor([4, 1])
    assert abs(distance_from_uniform((corners.lengths - 1) * 16 + place, 64)) < 5


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_an_image_has_the_same_patches_in_any_batch(training, replace):
    images = images_of(16, 1, 12, 12)
    index = 100 + torch.arange(16)
    cutout = PatchCutout(5, (1, 9), seed=0, replace=replace).train(training)
    together = cutout(images, index)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    for i, patches in zip(order, cutout(images[order], index[order]), strict=True):
        assert torch.equal(patches, together[i])
    for i in range(16):
        assert torch.equal(cutout(images[i : i + 1], index[i : i + 1]).values, together[i])


def test_the_epoch_changes_training_and_not_evaluation():
    images = images_of(16, 1, 12, 12)
    cutout = PatchCutout(5, 4, seed=0)

    def cut(epoch: int) -> Tensor:
        cutout.set_epoch(epoch)
        return cutout(images).values

    cutout.train()
    assert not torch.equal(cut(0), cut(1))
    assert torch.equal(cut(1), cut(1))
    train_0 = cut(0)
    cutout.eval()
    assert torch.equal(cut(0), cut(1))
    assert not torch.equal(cut(0), train_0)


def test_the_seed_changes_the_patches():
    images = images_of(16, 1, 12, 12)
    assert not torch.equal(PatchCutout(5, 4, seed=0)(images).values, PatchCutout(5, 4, seed=1)(images).values)


def test_a_smaller_set_is_the_beginning_of_a_larger_one():
    images = images_of(4, 3, 12, 12)
    cutout = PatchCutout(5, 16, seed=0).eval()
    many = cutout(images)
    cutout.count = 4
    for few, all_16 in zip(cutout(images), many, strict=True):
        assert torch.equal(few, all_16[:4])


def test_a_patch_may_be_as_large_as_the_image():
    images = images_of(2, 3, 6, 6)
    for patches, image in zip(PatchCutout(6, 2, seed=0)(images), images, strict=True):
        assert torch.equal(patches, image.expand(2, 3, 6, 6))


def test_count_is_settable_to_a_number_or_a_pair():
    cutout = PatchCutout(5, 4, seed=0)
    assert cutout.count == (4, 4)
    cutout.count = [2, 8]
    assert cutout.count == (2, 8)


@pytest.mark.parametrize("count", [0, (0, 3), (5, 4), (1, 2, 3), (1, 2.5), -1])
def test_impossible_counts_are_refused(count):
    with pytest.raises(ValueError, match="patch_num="):
        PatchCutout(5, count, seed=0)
    cutout = PatchCutout(5, 4, seed=0)
    with pytest.raises(ValueError, match="patch_num="):
        cutout.count = count
    assert cutout.count == (4, 4)


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="exceeds the image height 8: choose <= 8"):
        PatchCutout(9, 4, seed=0)(images_of(1, 1, 8, 12))
    with pytest.raises(ValueError, match="exceeds the image width 8: choose <= 8"):
        PatchCutout(9, 4, seed=0)(images_of(1, 1, 12, 8))
    with pytest.raises(ValueError, match=r"\[B, C, H, W\]"):
        PatchCutout(9, 4, seed=0)(images_of(1, 1, 12, 12)[0])


@pytest.mark.parametrize("channels", [1, 3])
def test_plain_function_cuts_true_patches_and_repeats_with_its_generator(channels):
    y, x = torch.meshgrid(torch.arange(9), torch.arange(11), indexing="ij")
    images = ((y * 11 + x)[None, None] + 100 * torch.arange(2)[:, None, None, None]).expand(2, channels, 9, 11)
    images = images.to(torch.uint8)  # each pixel says where it is
    patches = cutout_patch2d(images, (1, 50), 4, torch.Generator().manual_seed(0))
    corner = patches.values[:, 0, 0, 0].long() - 100 * patches.index
    for patch, b, place in zip(patches.values, patches.index, corner, strict=True):
        assert torch.equal(patch, images[b, :, place // 11 : place // 11 + 4, place % 11 : place % 11 + 4])
    again = cutout_patch2d(images, (1, 50), 4, torch.Generator().manual_seed(0))
    assert torch.equal(patches.values, again.values)


def test_plain_function_draws_the_last_row_and_column():
    image = torch.arange(12 * 12, dtype=torch.uint8).view(1, 1, 12, 12)
    place = cutout_patch2d(image, 10_000, 5, torch.Generator().manual_seed(0)).values[:, 0, 0, 0].long()
    assert abs(distance_from_uniform(place // 12 * 8 + place % 12, 64)) < 5
    lengths = cutout_patch2d(image.expand(7000, 1, 12, 12), (3, 9), 5, torch.Generator().manual_seed(0)).lengths
    assert abs(distance_from_uniform(lengths - 3, 7)) < 5


@pytest.mark.parametrize("mode", ["random", "grid", "all"])
def test_patches_of_every_mode_are_the_slices_at_their_positions(mode):
    images_BCHW = images_of(2, 3, 9, 11)
    cutout = PatchCutout(4, 5 if mode == "random" else None, mode=mode, replace=False)
    patches, corners = cutout(images_BCHW), cutout.positions(images_BCHW, torch.arange(2))
    for patch, b, (y, x) in zip(patches.values, corners.index, corners.values, strict=True):
        assert torch.equal(patch, images_BCHW[b, :, y : y + 4, x : x + 4])


def test_all_is_every_place_once():
    corners = PatchCutout(4, mode="all").positions(blank(2, 1, 9, 11), torch.arange(2))
    assert corners.lengths.tolist() == [48, 48]
    assert corners.max_len == 48
    for each in corners:
        assert {tuple(c) for c in each.tolist()} == {(y, x) for y in range(6) for x in range(8)}


def test_the_grid_sees_every_pixel_with_the_fewest_patches():
    for shape, size, number in (
        ((1, 1, 9, 11), 4, 9),
        ((1, 1, 8, 8), 4, 4),
        ((1, 3, 5, 7), 5, 2),
        ((1, 1, 4, 4), 4, 1),
    ):
        corners = PatchCutout(size, mode="grid").positions(blank(*shape), torch.arange(1)).values
        assert len(corners) == number
        seen = torch.zeros(shape[2:])
        for y, x in corners.tolist():
            assert y <= shape[2] - size
            assert x <= shape[3] - size
            seen[y : y + size, x : x + size] += 1
        assert seen.min() >= 1


def test_without_replacement_no_place_comes_twice_and_all_are_equally_likely():
    cutout = PatchCutout(5, (1, 12), replace=False)
    corners = cutout.positions(blank(6000, 1, 7, 8), torch.arange(6000))  # 3 x 4 places
    place = corners.with_values(corners.values @ torch.tensor([4, 1]))
    for each in place[:500]:
        assert len(each.unique()) == len(each)
    first = place.values[place.lengths.cumsum(0) - place.lengths]
    second = place.values[place.numbers() == 1]
    assert abs(distance_from_uniform(first, 12)) < 5
    assert abs(distance_from_uniform(second, 12)) < 5
    cutout.count = 4  # a larger set begins with the smaller one
    small = cutout.positions(blank(9, 1, 7, 8), torch.arange(9))
    cutout.count = 12
    for few, many in zip(small, cutout.positions(blank(9, 1, 7, 8), torch.arange(9)), strict=True):
        assert torch.equal(few, many[:4])
    cutout.count = 13
    with pytest.raises(ValueError, match="patch_num=13 exceeds the 12 places"):
        cutout.positions(blank(9, 1, 7, 8), torch.arange(9))


@pytest.mark.parametrize(
    ("replace", "expected"),
    [
        (True, [[1, 8, 4, 5, 0, 0], [10, 11, 2, 7, 2, 11]]),
        (False, [[1, 9, 6, 2, 4, 5], [10, 11, 4, 8, 5, 1]]),
    ],
)
def test_the_places_of_a_seed_stay_as_they_are(replace, expected):
    """A trained run is evaluated with the patches that it was evaluated with before, whatever has changed here."""
    corners = PatchCutout(5, 6, seed=3, replace=replace).positions(blank(2, 1, 7, 8), torch.tensor([4, 1_000_003]))
    assert (corners.values @ torch.tensor([4, 1])).view(2, 6).tolist() == expected


def test_images_of_any_size_have_places_without_replacement():
    corners = PatchCutout(5, 64, replace=False).positions(blank(2, 1, 40_000, 50_000), torch.arange(2))
    assert corners.values.max() > 39_000
    for each in corners:
        assert len(each.unique(dim=0)) == 64


def test_a_mode_that_says_how_many_takes_no_count():
    assert PatchCutout(4, mode="grid").count is None
    with pytest.raises(ValueError, match="'all' says how many"):
        PatchCutout(4, 3, mode="all")
    with pytest.raises(ValueError, match="choose random, grid or all"):
        PatchCutout(4, 3, mode="some")
    with pytest.raises(ValueError, match="patch_num=None"):
        PatchCutout(4)


@pytest.mark.parametrize("size", [0, -1, (3, 5), 2.0])
def test_a_size_that_is_none_is_refused(size):
    for cut in (lambda: PatchCutout(size, 3), lambda: cutout_patch2d(torch.zeros(2, 1, 8, 8), 3, size)):
        with pytest.raises(ValueError, match="choose a whole number >= 1"):
            cut()


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="no image was given"):
        cutout_patch2d(torch.zeros(0, 1, 8, 8), 3, 3)
