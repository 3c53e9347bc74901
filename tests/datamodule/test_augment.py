import pytest
import torch
from torchvision.transforms.v2 import functional as vision

from datamodule.augment import CropFlip


def one_by_one(images, window, padding, flip):
    """torchvision's operations, image by image."""
    side = 2 * padding + 1
    height, width = images.shape[-2:]
    cut = []
    for image, number in zip(images, window.tolist(), strict=True):
        mirrored, place = divmod(number, side * side)
        y, x = divmod(place, side)
        image = vision.horizontal_flip(image) if mirrored else image
        cut.append(vision.crop(vision.pad(image, padding), y, x, height, width))
    return torch.stack(cut)


@pytest.mark.parametrize(
    ("shape", "padding", "flip"),
    [
        ((3, 5, 7), 2, True),
        ((3, 5, 7), 2, False),
        ((1, 4, 4), 1, True),
        ((3, 6, 5), 0, True),
        ((2, 3, 2), 4, True),
    ],
)
def test_every_window_equals_torchvision(shape, padding, flip):
    augment = CropFlip(shape[1:], padding, flip, seed=0)
    window = torch.arange((2 * padding + 1) ** 2 * (1 + flip))
    images = torch.randint(1, 256, (len(window), *shape), dtype=torch.uint8)
    before = images.clone()
    assert torch.equal(augment.cut(images, window), one_by_one(images, window, padding, flip))
    assert torch.equal(images, before)


def test_an_image_looks_the_same_in_every_batch():
    images, index = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8), torch.arange(100, 112)
    augment = CropFlip((8, 8), 2, True, seed=5)
    whole = augment(images, index, epoch=3)
    parts = [augment(images[part], index[part], epoch=3) for part in torch.arange(12).flip(0).split(5)]
    assert torch.equal(whole.flip(0), torch.cat(parts))


def test_differs_by_epoch_and_seed():
    images, index = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8), torch.arange(64)
    drawn = [CropFlip((8, 8), 2, True, seed)(images, index, epoch) for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_shifts_and_flips_are_uniform():
    # one bright pixel in the middle tells y and x; a second one beside it would tell the flip by its side
    images = torch.zeros(20_000, 1, 7, 7, dtype=torch.uint8)
    images[:, :, 3, 3], images[:, :, 3, 4] = 2, 1
    drawn = CropFlip((7, 7), 1, True, seed=0)(images, torch.arange(20_000), epoch=0)[:, 0]
    place = (drawn == 2).flatten(1).int().argmax(1)
    flipped = (drawn == 1).flatten(1).int().argmax(1) < place
    y, x = place // 7 - 2, place % 7 - 2
    counts = torch.bincount(flipped * 9 + y * 3 + x, minlength=18)
    assert len(counts) == 18
    assert (counts - 20_000 / 18).abs().max() < 5 * (20_000 / 18) ** 0.5
