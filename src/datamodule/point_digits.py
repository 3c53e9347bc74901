"""MNIST digits as sets of points: the pixels that are not black, without a grid."""

from typing import Any

import torch
from torch import Tensor

from datamodule.data_module import DataModule
from datamodule.loader import MemorySource, SetSource, Source
from datamodule.torchvision_set import mnist
from set_module.set_batch import SetBatch

# N points of all images, B images of one part, H height, W width


class PointDigits(DataModule):
    """Sets of vectors (x, y, grey), all in 0..1, one for each pixel of a digit that is not black; targets are labels.

    x grows to the right, y downwards. data.max_elements=200 keeps so many points of each digit.
    """

    def __init__(self, *, root: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.images = mnist(root, settings)

    def prepare_data(self) -> None:
        self.images.prepare_data()

    @property
    def class_names(self) -> list[str]:
        return self.images.class_names

    def load(self, part: str) -> Source | None:
        source = self.images.load(part)
        if source is None:
            return None
        assert isinstance(source, MemorySource)
        return SetSource(points(source.images_NCHW[:, 0]), source.targets)


def points(images_BHW: Tensor) -> SetBatch:
    """Return (x, y, grey) of the pixels that are not black, float32 [N, 3]; of a black image, its first pixel."""
    height, width = images_BHW.shape[1:]
    grey_BP = images_BHW.flatten(1)
    visible_BP = grey_BP > 0
    visible_BP[:, 0] |= ~visible_BP.any(1)
    pixel_N = visible_BP.nonzero()[:, 1]
    x_N, y_N = (pixel_N % width + 0.5) / width, (pixel_N // width + 0.5) / height
    return SetBatch(torch.stack([x_N, y_N, grey_BP[visible_BP] / 255], dim=1), visible_BP.sum(1))
