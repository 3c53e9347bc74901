"""LeNet in the form of PyTorch's CIFAR-10 tutorial."""

# B images, C H W of an image, K outputs

from collections.abc import Sequence

from torch import Tensor, nn

from network.conv import PadTo
from network.normalize import Normalize


class LeNet(nn.Module):
    """Two 5x5 convolutions (6, 16), each with ReLU and 2x2 max pooling, then linear layers 120, 84, K.

    LeCun et al. 1998, "Gradient-based learning applied to document recognition", in the form of
    https://pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html. Smaller images are padded to
    32 x 32, as in the paper. uint8 [B, C, H, W] -> [B, K].
    """

    def __init__(
        self, channels: int, image_size: Sequence[int], num_outputs: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std, channels)
        self.pad = PadTo(32)
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)
        )
        height, width = (((max(length, 32) - 4) // 2 - 4) // 2 for length in image_size)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * height * width, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, num_outputs),
        )

    def forward(self, images_BCHW: Tensor, index_B: Tensor | None = None) -> Tensor:
        return self.head(self.features(self.pad(self.normalize(images_BCHW))))
