"""Padding of small images to the size that LeNet expects."""

# B images, C H W of an image

from torch import Tensor, nn
from torch.nn import functional as F


class PadTo(nn.Module):
    """Zeros around an image, up to a side of `size`; a larger side is not changed.

    [B, C, H, W] -> [B, C, max(H, size), max(W, size)].
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, images_BCHW: Tensor) -> Tensor:
        missing_H, missing_W = (max(self.size - length, 0) for length in images_BCHW.shape[2:])
        if not missing_H and not missing_W:
            return images_BCHW
        top, left = missing_H // 2, missing_W // 2
        return F.pad(images_BCHW, (left, missing_W - left, top, missing_H - top))
