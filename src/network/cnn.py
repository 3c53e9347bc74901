"""A plain convolutional network of chosen widths: the baseline on whole images."""

# B images, C H W of an image, K outputs

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from network.conv import conv_block, halved
from network.normalize import Normalize


class CNN(nn.Module):
    """(3x3 convolution, 2x2 max pooling, BatchNorm, ReLU) per width, dropout, one linear layer.

    uint8 [B, C, H, W] -> [B, K]. Raises ValueError without a width.
    """

    def __init__(
        self,
        channels: int,
        image_size: Sequence[int],
        num_outputs: int,
        mean: Sequence[float],
        std: Sequence[float],
        widths: Sequence[int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not widths:
            raise ValueError("widths is empty: give at least one, e.g. [32, 64]")
        self.normalize = Normalize(mean, std, channels)
        pairs = pairwise([channels, *widths])
        self.features = nn.Sequential(*[conv_block(inputs, outputs, pool=True) for inputs, outputs in pairs])
        height, width = (halved(length, len(widths)) for length in image_size)
        linear = nn.Linear(widths[-1] * height * width, num_outputs)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), linear)
        self.to(memory_format=torch.channels_last)

    def forward(self, images_BCHW: Tensor, index_B: Tensor | None = None) -> Tensor:
        return self.head(self.features(self.normalize(images_BCHW)))
