"""Sources of images and labels: a uint8 tensor in memory or on the device, or files that are decoded on demand.

An item is an image or a bag of images; a batch of bags is a SetBatch.
"""

from typing import Protocol

import torch
from torch import Tensor

from set_module.set_batch import SetBatch

# N images of the source, B items of a batch, M images in all bags, C channels, H height, W width


class Source(Protocol):
    """Interface of images and labels by position."""

    labels: Tensor  # int64, one per item

    def __len__(self) -> int: ...

    def images(self, index_B: Tensor) -> Tensor | SetBatch:
        """Return uint8 [B, C, H, W], or B bags of [C, H, W]."""
        ...


class MemorySource:
    """Source of uint8 images [N, C, H, W] in one tensor: a batch is one index_select."""

    def __init__(self, images_NCHW: Tensor, labels_N: Tensor) -> None:
        self.images_NCHW, self.labels = images_NCHW, labels_N

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, index_B: Tensor) -> Tensor | SetBatch:
        return self.images_NCHW.index_select(0, index_B)

    def to(self, device: torch.device) -> "MemorySource":
        return MemorySource(self.images_NCHW.to(device), self.labels.to(device))


class BagSource(MemorySource):
    """Source of bags of uint8 images [N, C, H, W]; `members`, a SetBatch of int64 [M], holds the images of each bag.

    A batch is a SetBatch. Bags may share images, and an image may be in no bag; a label belongs to a bag.
    """

    def __init__(self, images_NCHW: Tensor, members: SetBatch, labels: Tensor) -> None:
        super().__init__(images_NCHW, labels)
        self.members = members

    def images(self, index_B: Tensor) -> SetBatch:
        return self.members.select(index_B).map(lambda member_M: self.images_NCHW.index_select(0, member_M))

    def to(self, device: torch.device) -> "BagSource":
        return BagSource(self.images_NCHW.to(device), self.members.to(device), self.labels.to(device))


def has_room(source: MemorySource, device: torch.device) -> bool:
    """Return whether the images take less than a quarter of a GPU's free memory."""
    return device.type == "cuda" and 4 * source.images_NCHW.nbytes < torch.cuda.mem_get_info(device)[0]
