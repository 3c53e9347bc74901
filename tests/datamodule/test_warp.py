"""The random warp: the map that its formula names, the same in every batch."""

import torch
from torch.nn import functional as F

from datamodule.warp import STEPS, STREAM, Warp
from set_module.counter_rng import random_int

IMAGES = torch.randint(256, (5, 2, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
INDEX = torch.tensor([3, 14, 15, 92, 65])


def test_a_pixel_comes_from_where_the_matrix_says():
    warped = Warp(0.3, seed=4)(IMAGES, INDEX, epoch=2)
    for image, index, found in zip(IMAGES, INDEX, warped, strict=True):
        drawn = random_int(STEPS, 4 + STREAM, 2, index, torch.arange(4))
        a, b, c, d = (0.3 * ((drawn.double() + 0.5) * 2 / STEPS - 1)).tolist()
        padded = F.pad(image.double(), (12, 12, 12, 12))
        for row in range(9):
            for column in range(7):
                x, y = (column - 3) / 3.5, (row - 4) / 4.5  # from the centre, in halves of the sides
                from_x = 3 + 3.5 * ((1 + a) * x + b * y) + 12
                from_y = 4 + 4.5 * (c * x + (1 + d) * y) + 12
                left, top = int(from_x), int(from_y)
                right, below = from_x - left, from_y - top
                four = padded[:, top : top + 2, left : left + 2]
                weights = torch.tensor([[1 - below], [below]]) * torch.tensor([[1 - right, right]])
                assert ((four * weights).sum((1, 2)) - found[:, row, column]).abs().max() < 0.51


def test_an_image_looks_the_same_in_every_batch_and_differs_by_epoch_and_number():
    warp, order = Warp(0.2, seed=0), torch.tensor([4, 0, 3, 2, 1])
    together = warp(IMAGES, INDEX, 1)
    assert torch.equal(warp(IMAGES[order], INDEX[order], 1), together[order])
    assert torch.equal(warp(IMAGES[2:3], INDEX[2:3], 1), together[2:3])
    assert not torch.equal(warp(IMAGES, INDEX, 2), together)
    numbered = warp(IMAGES[:1].expand(5, -1, -1, -1), INDEX[:1].expand(5), 1, torch.arange(5))
    assert torch.equal(numbered[0], together[0])
    assert len(numbered.flatten(1).unique(dim=0)) == 5


def test_no_amount_changes_nothing():
    assert torch.equal(Warp(0.0, seed=0)(IMAGES, INDEX, 0), IMAGES)
