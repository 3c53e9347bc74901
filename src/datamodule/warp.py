"""Random rotation, scale and shear of a whole uint8 batch, on its device."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from set_module.counter_rng import random_int

# B images, C channels, H height, W width

STREAM = 0x57415250  # added to the seed: independent of crops and of patches with the same seed
STEPS = 2**16  # of the uniform numbers


class Warp(nn.Module):
    """y(p) = x(A p), p from the centre in half widths and half heights, A = I + amount * U, U ~ U(-1, 1)^(2x2).

    Bilinear, 0 outside of the image, rounded. U is a function of (seed, epoch, index, number in a set).
    [B, C, H, W] uint8 -> the same.
    """

    def __init__(self, amount: float, seed: int) -> None:
        super().__init__()
        self.amount, self.seed = amount, seed + STREAM

    def forward(self, images_BCHW: Tensor, index_B: Tensor, epoch: int, number_B: Tensor | int = 0) -> Tensor:
        """Warp each image; `number_B` tells the images of one set apart, which share their index."""
        entry_4 = torch.arange(4, device=index_B.device)
        draw_B4 = (number_B[:, None] if isinstance(number_B, Tensor) else number_B) * 4 + entry_4
        drawn_B4 = random_int(STEPS, self.seed, epoch, index_B[:, None], draw_B4)
        uniform_B22 = ((drawn_B4.float() + 0.5) * (2 / STEPS) - 1).view(-1, 2, 2)
        matrix_B22 = torch.eye(2, device=index_B.device) + self.amount * uniform_B22
        grid = F.affine_grid(F.pad(matrix_B22, (0, 1)), list(images_BCHW.shape), align_corners=False)
        warped_BCHW = F.grid_sample(images_BCHW.float(), grid, align_corners=False)
        return warped_BCHW.round_().clamp_(0, 255).to(torch.uint8)
