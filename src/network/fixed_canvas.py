"""Form of a canvas network for export: the places of its patches are fixed, and so is the mask."""

# B images, P patches of each, C H W of an image, K outputs

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from network.canvas import Canvas
from network.fixed_patches import fixed_corners
from selection.coverage import coverage
from set_module.set_batch import SetBatch


class FixedCanvas(nn.Module):
    """Canvas network uint8 [B, C, H, W] -> [B, K] that shows each image at the same places, see `fixed_corners`."""

    corners: Tensor  # [P, 2]
    mask: Tensor  # [1, 1, H, W]

    def __init__(self, network: Canvas, image_size: Sequence[int], mode: str) -> None:
        super().__init__()
        self.network, self.mode = network, mode
        corners_P2 = fixed_corners(network, image_size, mode)
        assert network.cutout is not None
        mask = coverage(SetBatch(corners_P2, [len(corners_P2)]), network.cutout.size, image_size)
        self.register_buffer("corners", corners_P2, persistent=False)
        self.register_buffer("mask", mask, persistent=False)

    @property
    def num_patches(self) -> int:
        return len(self.corners)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.network.paint(images_BCHW, self.mask.expand(images_BCHW.shape[0], -1, -1, -1))

    def outputs(self, images_BCHW: Tensor) -> Tensor:
        """Return the outputs of the network itself for the same places."""
        lengths_B = torch.full((len(images_BCHW),), self.num_patches)
        return self.network.read(images_BCHW, SetBatch(self.corners.repeat(len(images_BCHW), 1), lengths_B))
