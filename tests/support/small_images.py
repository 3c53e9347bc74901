"""Images in memory behind the reader of images of any size, which counts what is read at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor

from set_module.lazy_images import ImageReader


class InMemory(ImageReader):
    """Reader of tensors [C, H, W]; `most` is the largest number of patches of one image that were read at once."""

    def __init__(self, images: Sequence[Tensor] | Tensor) -> None:
        self.images, self.channels, self.most = images, len(images[0]), 0

    def size(self, item: int) -> tuple[int, int]:
        return self.images[item].shape[1], self.images[item].shape[2]

    def read(self, item: int, corners_n2: Tensor, size: int) -> Tensor:
        self.most = max(self.most, len(corners_n2))
        image = self.images[item]
        return torch.stack([image[:, y : y + size, x : x + size] for y, x in corners_n2.tolist()])
