"""Images that are nowhere: a reader that paints noise, the same for the same image and place."""

import torch
from torch import Tensor

from set_module.lazy_images import ImageReader


class NoiseReader(ImageReader):
    """Reader of images of one size whose pixels are a function of the image, the row and the column."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.channels, self.height, self.width = channels, height, width

    def size(self, item: int) -> tuple[int, int]:
        return self.height, self.width

    def read(self, item: int, corners_n2: Tensor, size: int) -> Tensor:
        y_np, x_np = (corners_n2[:, axis, None] + torch.arange(size) for axis in (0, 1))
        pixels_npp = (y_np[:, :, None] * 7919 + x_np[:, None] * 104729 + item * 31) % 256
        return pixels_npp[:, None].expand(-1, self.channels, -1, -1).to(torch.uint8)
