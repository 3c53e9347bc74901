"""Images of stamps: patches equal those of the painted whole."""

import torch

from datamodule.stamped import Stamped
from set_module.lazy_images import LazyImages
from set_module.set_batch import SetBatch

STAMPS = torch.randint(256, (4, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def by_hand(images: Stamped) -> torch.Tensor:
    """Paint whole images, stamp by stamp."""
    whole = torch.zeros(len(images.number_NS), *images.image_size, dtype=torch.uint8)
    for image, corners, numbers in zip(whole, images.corners_NS2.tolist(), images.number_NS.tolist(), strict=True):
        for (y, x), number in zip(corners, numbers, strict=True):
            image[y : y + 6, x : x + 6] = torch.from_numpy(images.stamps_Kss[number])
    return whole[:, None]


def drawn(count: int, stamps: int, height: int, width: int) -> Stamped:
    generator = torch.Generator().manual_seed(1)
    sides = [torch.randint(side - 5, (count, stamps), generator=generator) for side in (height, width)]
    number = torch.randint(4, (count, stamps), generator=generator)
    return Stamped(STAMPS, torch.stack(sides, dim=2), number, (height, width))


def test_later_stamps_cover_earlier_ones_and_a_patch_is_a_part_of_the_whole():
    images = drawn(3, 12, 20, 31)
    whole = by_hand(images)
    assert torch.equal(images.whole([2, 0, 1]), whole[[2, 0, 1]])
    corners = torch.tensor([[0, 0], [13, 24], [4, 9], [4, 10], [13, 0], [4, 9]])
    batch = LazyImages(images, [2, 0])
    patches = batch.read(SetBatch(corners, [4, 2]), 7)
    for patch, image, (y, x) in zip(patches, [2, 2, 2, 2, 0, 0], corners.tolist(), strict=True):
        assert torch.equal(patch, whole[image, :, y : y + 7, x : x + 7])
    assert torch.equal(batch.thumbnails(5)[0, :, :4, :6], means(whole[2:, :, :20, :30], 5)[0])


def means(images, scale):
    return torch.nn.functional.avg_pool2d(images.float(), scale).round().to(torch.uint8)


def test_a_patch_that_no_stamp_touches_is_empty():
    images = Stamped(STAMPS + 1, torch.tensor([[[10, 10]]]), torch.tensor([[2]]), (30, 40))
    for corner, seen in [([5, 10], 0), ([6, 10], 1), ([15, 15], 1), ([16, 10], 0), ([10, 16], 0), ([10, 5], 0)]:
        patch = images.read(0, torch.tensor([corner]), 5)
        assert bool(patch.any()) == bool(seen), corner


def test_a_stamp_takes_eight_bytes():
    images = drawn(3, 12, 200, 31)
    assert images.corners_NS2.nbytes + images.number_NS.nbytes == 3 * 12 * 8
