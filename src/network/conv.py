"""The convolution block that the plain convolutional networks share."""

from torch import nn


def conv_block(in_channels: int, out_channels: int, pool: bool) -> nn.Sequential:
    """3x3 convolution, if pool 2x2 max pooling, BatchNorm, ReLU: [B, C, H, W] -> [B, C', ceil(H/2), ceil(W/2)].

    Pooling comes before the normalisation, which then has a quarter of the work; ReLU and max pooling commute.
    """
    # the normalisation subtracts the mean: a bias before it would do nothing
    block = nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False))
    if pool:
        block.append(nn.MaxPool2d(2, ceil_mode=True))  # ceil: an odd edge is kept, and a single pixel stays one
    return block.extend([nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)])


def halved(length: int, times: int) -> int:
    """Return the side of an image after `times` poolings of conv_block: ceil(length / 2^times)."""
    return -(-length // 2**times)
