"""Form of a network for export that chooses the patches of each image itself, one after the other."""

# B images, C H W of an image, K patches of each, P places, R rows and X columns of them, p side of a patch

from typing import Any

import torch
from torch import Tensor, nn

from network.canvas import Canvas
from selection.coverage import lines
from set_module.set_batch import SetBatch
from set_module.set_network import patch_num_range

TIE = 1e-4  # of scores, relative to the largest if that exceeds 1: other programs may round them to another choice


class StepwisePatches(nn.Module):
    """Network uint8 [B, C, H, W] -> outputs [B, K] whose patches lie at p_k = argmax_p select(images, seen)_p.

    It gives what the network gives in evaluation mode, for selections with `select`: `seen` is 1 where the k - 1
    patches before lie, and no place is taken twice. There are as many patches as in evaluation. torch.onnx.export and
    torch.export trace it for any B >= 1.
    """

    rows: Tensor  # [R, H], 1 where a patch in that row of places covers the pixel row
    columns: Tensor  # [X, W]
    pixels: Tensor  # [p * p], of a patch, counted from its corner in an image of one line

    def __init__(self, network: Any) -> None:
        super().__init__()
        cutout = network.cutout
        self.network, self.size, self.mode = network, cutout.size, cutout.mode
        self.num_patches = patch_num_range(network)[1]
        height, width = (places + self.size - 1 for places in (cutout.rows, cutout.columns))
        device = next(network.parameters()).device
        self.register_buffer("rows", lines(height, self.size, device), persistent=False)
        self.register_buffer("columns", lines(width, self.size, device), persistent=False)
        side_p = torch.arange(self.size, device=device)
        self.register_buffer("pixels", (side_p[:, None] * width + side_p).flatten(), persistent=False)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        taken_BP, place_BK, _ = self._chosen(images_BCHW)
        if isinstance(self.network, Canvas):
            return self.network.paint(images_BCHW, self._covered(taken_BP))
        batch, channels, _, width = images_BCHW.shape
        y_N, x_N = (place_BK // len(self.columns)).flatten(), (place_BK % len(self.columns)).flatten()
        pixel_BQ = ((y_N * width + x_N)[:, None] + self.pixels).view(batch, -1)
        cut_BCQ = images_BCHW.flatten(2).gather(2, pixel_BQ[:, None].expand(-1, channels, -1))
        patches_BKCpp = cut_BCQ.unflatten(2, (-1, self.size, self.size)).transpose(1, 2)
        lengths_B = images_BCHW.new_full((batch,), self.num_patches, dtype=torch.int64)
        index_N = torch.arange(batch, device=images_BCHW.device).repeat_interleave(self.num_patches)
        patches_NCpp = patches_BKCpp.reshape(-1, channels, self.size, self.size)
        patches = SetBatch.trusted(patches_NCpp, lengths_B, index_N, self.num_patches)
        corners = patches.with_values(torch.stack([y_N, x_N], dim=1))
        outputs: Tensor = self.network.read(self.network.encode(patches, corners))
        return outputs

    def is_decided(self, images_BCHW: Tensor) -> Tensor:
        """Return whether no choice of an image depends on how a program rounds, bool [B]."""
        return self._chosen(images_BCHW)[2]

    def _chosen(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return whether a place is taken [B, P], the places in their order [B, K], and `is_decided` [B]."""
        place_P = torch.arange(len(self.rows) * len(self.columns), device=images_BCHW.device)
        taken_BP = torch.zeros_like(place_P).bool().expand(images_BCHW.shape[0], -1)
        place_BK, decided_B = [], taken_BP[:, 0].logical_not()
        for _ in range(self.num_patches):
            scores_BP = self.network.cutout.select(images_BCHW, self._covered(taken_BP))
            scores_BP = scores_BP.masked_fill(taken_BP, -torch.inf)
            best_B2 = scores_BP.topk(min(2, len(place_P)), dim=1).values
            least_B = TIE * best_B2[:, 0].abs().clamp(min=1)
            decided_B = decided_B & (best_B2[:, 0] - best_B2[:, -1] > least_B)
            place_BK.append(scores_BP.argmax(1))
            taken_BP = taken_BP | (place_P == place_BK[-1][:, None])
        return taken_BP, torch.stack(place_BK, dim=1), decided_B

    def _covered(self, taken_BP: Tensor) -> Tensor:
        """Return 1 where a patch covers a pixel and 0 elsewhere, float32 [B, 1, H, W]."""
        taken_BRX = taken_BP.to(self.rows.dtype).unflatten(1, (len(self.rows), len(self.columns)))
        return (self.rows.T @ taken_BRX @ self.columns > 0).to(self.rows.dtype)[:, None]
