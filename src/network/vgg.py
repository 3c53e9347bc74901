"""VGG11: a deep plain convolutional network, the usual baseline of newer ones."""

# B images, C H W of an image, K outputs

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from network.normalize import Normalize

STAGES = [[64], [128], [256, 256], [512, 512], [512, 512]]  # configuration A, channels


class VGG11(nn.Module):
    """Eight 3x3 convolutions in five stages that end in 2x2 max pooling, mean over places, a linear layer.

    Simonyan & Zisserman 2015, arXiv:1409.1556, configuration A, initialised as the end of its section 3.1 proposes:
    Glorot & Bengio 2010, biases 0. The head is that of small images: one layer of 512 features in place of 4096, 4096.
    uint8 [B, C, H, W] -> [B, K]; ceil_mode pooling, so that images below 32 x 32 are possible.
    """

    def __init__(
        self,
        channels: int,
        image_size: Sequence[int],
        num_outputs: int,
        mean: Sequence[float],
        std: Sequence[float],
        batch_norm: bool,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std, channels)
        self.features = _features(channels, batch_norm)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, num_outputs))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, images_BCHW: Tensor, index_B: Tensor | None = None) -> Tensor:
        return self.head(self.features(self.normalize(images_BCHW)))


def _features(channels: int, batch_norm: bool) -> nn.Sequential:
    layers = nn.Sequential()  # modules in torchvision's order, so that its weights can be loaded
    for stage in STAGES:
        for width in stage:
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
            channels = width
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    return layers
