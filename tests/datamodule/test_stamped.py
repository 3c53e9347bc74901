"""Images of stamps: patches equal those of the painted whole."""

import torch

from datamodule.stamped import Stamped

STAMPS = torch.randint(256, (4, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def by_hand(images: Stamped, height: int, width: int) -> torch.Tensor:
    """Paint whole images, stamp by stamp."""
    whole = torch.zeros(len(images), height, width, dtype=torch.uint8)
    for image, corners, numbers in zip(whole, images.corners_NS2.tolist(), images.number_NS.tolist(), strict=True):
        for (y, x), number in zip(corners, numbers, strict=True):
            image[y : y + 6, x : x + 6] = images.stamps_Kss[number]
    return whole[:, None]


def drawn(count: int, stamps: int, height: int, width: int) -> Stamped:
    generator = torch.Generator().manual_seed(1)
    sides = [torch.randint(side - 5, (count, stamps), generator=generator) for side in (height, width)]
    return Stamped(STAMPS, torch.stack(sides, dim=2), torch.randint(4, (count, stamps), generator=generator))


def test_later_stamps_cover_earlier_ones_and_a_patch_is_a_part_of_the_whole():
    images = drawn(3, 12, 20, 31)
    whole = by_hand(images, 20, 31)
    assert torch.equal(images.paint(torch.arange(3), torch.zeros(3, 2, dtype=torch.int64), 20, 31), whole)
    image_M = torch.tensor([2, 0, 1, 2, 2])
    corners_M2 = torch.tensor([[0, 0], [13, 22], [4, 9], [4, 10], [13, 0]])
    patches = images.paint(image_M, corners_M2, 7, 9)
    for patch, image, (y, x) in zip(patches, image_M, corners_M2.tolist(), strict=True):
        assert torch.equal(patch, whole[image, :, y : y + 7, x : x + 9])


def test_a_patch_that_no_stamp_touches_is_empty():
    images = Stamped(STAMPS + 1, torch.tensor([[[10, 10]]]), torch.tensor([[2]]))
    for corner, seen in [([5, 10], 0), ([6, 10], 1), ([15, 15], 1), ([16, 10], 0), ([10, 16], 0), ([10, 5], 0)]:
        patch = images.paint(torch.tensor([0]), torch.tensor([corner]), 5, 5)
        assert bool(patch.any()) == bool(seen), corner


def test_a_stamp_takes_eight_bytes():
    images = drawn(3, 12, 200, 31)
    assert images.corners_NS2.nbytes + images.number_NS.nbytes == 3 * 12 * 8
