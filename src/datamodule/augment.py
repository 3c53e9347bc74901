"""Random crop and flip of a whole uint8 batch in a few operations; torchvision works image by image."""

import torch
from torch import Tensor, nn

from set_module.counter_rng import random_int

# B images, C channels, H height, W width, K windows: one for each (flip, y, x)

STREAM = 0x43524F50  # added to the seed: crops are independent of patches that are cut with the same seed


class CropFlip(nn.Module):
    """Zero-pad by `padding`, crop back to H x W at a random place, flip left-right with probability 1/2.

    Shifting an image by (dy, dx) is shifting its memory by dy * W + dx: the window of an image is one contiguous
    piece of the batch (or of its mirror image), in which pixels of a neighbouring row or image are multiplied by zero.
    One number per image, a function of (seed, epoch, index, its number in a set), encodes flip, y and x.
    [B, C, H, W] uint8 -> the same.
    """

    margin: Tensor
    offsets: Tensor  # [K]
    inside: Tensor  # [K, 1, H, W]

    def __init__(self, image_size: tuple[int, int], padding: int, flip: bool, seed: int) -> None:
        super().__init__()
        height, width = image_size
        self.flip, self.seed = flip, seed + STREAM
        shift = torch.arange(-padding, padding + 1)
        row_inside = _inside(shift, height)[:, None, :, None]
        column_inside = _inside(shift, width)[None, :, None, :]
        self.num_shifts = len(shift) ** 2
        margin = padding * width + padding  # how far the outermost windows reach beyond the batch
        mirrors = 2 if flip else 1
        starts = (margin + shift[:, None] * width + shift).flatten()
        kept = (row_inside & column_inside).reshape(-1, 1, height, width).to(torch.uint8)
        self.register_buffer("margin", torch.zeros(margin, dtype=torch.uint8), persistent=False)
        self.register_buffer("offsets", starts.repeat(mirrors), persistent=False)
        self.register_buffer("inside", kept.repeat(mirrors, 1, 1, 1), persistent=False)

    def forward(self, images_BCHW: Tensor, index_B: Tensor, epoch: int, number_B: Tensor | int = 0) -> Tensor:
        """Crop and flip each image; `number_B` tells the images of one set apart, which share their index."""
        window_B = random_int(len(self.offsets), self.seed, epoch, index_B, number_B)
        return self.cut(images_BCHW, window_B)

    def cut(self, images_BCHW: Tensor, window_B: Tensor) -> Tensor:
        """Cut the given window out of each image: window = (flip * (2 padding + 1) + y) * (2 padding + 1) + x."""
        size, total = images_BCHW.shape[1:].numel(), images_BCHW.numel()
        mirror = [images_BCHW.flip(-1).flatten()] if self.flip else []
        bank = torch.cat([self.margin, images_BCHW.flatten(), *mirror, self.margin])
        start_B = torch.arange(0, total, size, device=bank.device)
        start_B += self.offsets.index_select(0, window_B)
        if self.flip:
            start_B.add_(window_B >= self.num_shifts, alpha=total)
        windows = bank.as_strided((len(bank) - size + 1, size), (1, 1))
        cut_BCHW = windows.index_select(0, start_B).view_as(images_BCHW)
        return cut_BCHW.mul_(self.inside.index_select(0, window_B)) if len(self.margin) else cut_BCHW


def _inside(shift: Tensor, size: int) -> Tensor:
    position = torch.arange(size) + shift[:, None]
    return (position >= 0) & (position < size)
