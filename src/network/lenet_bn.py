"""LeNet with batch normalisation: four 3x3 convolutions, much more accurate than LeNet and still cheap on a CPU."""

# B images, C H W of an image, K outputs

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from network.conv import PadTo, conv_block, halved
from network.normalize import Normalize


class LeNetBN(nn.Module):
    """Four 3x3 convolutions (32 64 128 128), 2x2 max pooling after all but the third, linear layers 120, 84, K.

    LeNet (LeCun et al. 1998) with batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167) before
    every ReLU. Smaller images are padded to 32 x 32. uint8 [B, C, H, W] -> [B, K].
    """

    def __init__(
        self, channels: int, image_size: Sequence[int], num_outputs: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std, channels)
        self.pad = PadTo(32)
        self.features = nn.Sequential(
            conv_block(channels, 32, pool=True),
            conv_block(32, 64, pool=True),
            conv_block(64, 128, pool=False),
            conv_block(128, 128, pool=True),
        )
        height, width = (halved(max(length, 32), 3) for length in image_size)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(128 * height * width, 120, bias=False),
            nn.BatchNorm1d(120),
            nn.ReLU(),
            nn.Linear(120, 84, bias=False),
            nn.BatchNorm1d(84),
            nn.ReLU(),
            nn.Linear(84, num_outputs),
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, images_BCHW: Tensor, index_B: Tensor | None = None) -> Tensor:
        return self.head(self.features(self.pad(self.normalize(images_BCHW))))
