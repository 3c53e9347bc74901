"""Building blocks that the plain convolutional networks share."""

# B images, C channels, H W of an image

from torch import Tensor, nn
from torch.nn import functional as F


def conv_block(in_channels: int, out_channels: int, pool: bool, padding: int = 1) -> nn.Sequential:
    """3x3 convolution, if pool 2x2 max pooling, BatchNorm, ReLU: [B, C, H, W] -> [B, C', ceil(H/2), ceil(W/2)].

    With padding=0, H and W are 2 less. Pooling comes before the normalisation, which then has a quarter of the work;
    ReLU and max pooling commute.
    """
    # the normalisation subtracts the mean: a bias before it would do nothing
    block = nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=padding, bias=False))
    if pool:
        block.append(nn.MaxPool2d(2, ceil_mode=True))  # ceil: an odd edge is kept, and a single pixel stays one
    return block.extend([nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)])


def halved(length: int, times: int) -> int:
    """Return the side of an image after `times` poolings of conv_block: ceil(length / 2^times)."""
    return -(-length // 2**times)


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
