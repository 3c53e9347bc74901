"""Where images and labels come from: a uint8 tensor in memory or on the device, or what decodes on demand."""

from typing import Protocol

import torch
from torch import Tensor

# N images of the source, B images of a batch, C channels, H height, W width


class Source(Protocol):
    """Images and labels by position."""

    labels: Tensor  # int64 [N]

    def __len__(self) -> int: ...

    def images(self, index_B: Tensor) -> Tensor:
        """uint8 [B, C, H, W]."""
        ...


class MemorySource:
    """uint8 images [N, C, H, W] in one tensor: a batch is one index_select."""

    def __init__(self, images_NCHW: Tensor, labels_N: Tensor) -> None:
        self.images_NCHW, self.labels = images_NCHW, labels_N

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, index_B: Tensor) -> Tensor:
        return self.images_NCHW.index_select(0, index_B)

    def to(self, device: torch.device) -> "MemorySource":
        return MemorySource(self.images_NCHW.to(device), self.labels.to(device))


def has_room(source: MemorySource, device: torch.device) -> bool:
    """Whether the images take less than a quarter of the device's free memory."""
    return device.type == "cuda" and 4 * source.images_NCHW.nbytes < torch.cuda.mem_get_info(device)[0]
