"""The brightest places, of tensors and of handles."""

import pytest
import torch
from small_images import InMemory

from selection.brightest import BrightestPlaces
from set_module.lazy_images import LazyImages

IMAGES = torch.randint(256, (4, 2, 18, 25), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_places_with_the_largest_means_are_chosen():
    selection = BrightestPlaces(6, 5, 0, stride=3, scale=3).eval()
    chosen = selection.positions(IMAGES, torch.arange(4))
    means = torch.nn.functional.avg_pool2d(IMAGES.double(), 6, stride=1).mean(1)
    for b, corners in enumerate(chosen):
        rows, columns = range(0, 13, 3), selection.grid.positions(IMAGES[:1], torch.zeros(1)).values[:, 1].unique()
        every = {(y, int(x)): float(means[b, y, x // 3 * 3]) for y in rows for x in columns}  # cells of 3 pixels
        best = sorted(every, key=every.__getitem__, reverse=True)[:5]
        assert [every[tuple(corner)] for corner in corners.tolist()] == pytest.approx([every[c] for c in best], abs=0.6)
    handles = selection.positions(LazyImages(InMemory(IMAGES), range(4)), torch.arange(4))
    assert torch.equal(handles.values, chosen.values)


def test_bright_spots_are_found_one_by_one():
    images = torch.zeros(1, 1, 40, 40, dtype=torch.uint8)
    for y, x, grey in [(4, 4, 255), (20, 30, 200), (32, 8, 150)]:
        images[0, 0, y : y + 4, x : x + 4] = grey
    chosen = BrightestPlaces(8, 3, 0, stride=2, scale=2, apart=8).positions(images, torch.arange(1)).values
    for (y, x), corner in zip([(4, 4), (20, 30), (32, 8)], chosen.tolist(), strict=True):
        assert 0 <= y - corner[0] <= 4
        assert 0 <= x - corner[1] <= 4


def test_a_thumbnail_that_is_coarser_than_a_patch_is_refused():
    with pytest.raises(ValueError, match="scale=7: choose 1 to 6, the side of a patch"):
        BrightestPlaces(6, 5, 0, scale=7)
