"""Form of a patch network for export that takes images and cuts patches at fixed places."""

# B images, C H W of an image, P patches of each, R rows and X columns of them, p side of a patch, K outputs

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from set_module.patch_cutout import PatchCutout
from set_module.set_batch import SetBatch
from set_module.set_network import SetNetwork, draws_patches, patch_num_range


class FixedPatches(nn.Module):
    """Patch network uint8 [B, C, H, W] -> logits [B, K] that cuts each image at the same places.

    The places are those of `fixed_corners`. Except those that are learned, they form whole rows and columns, so that
    two selections of pixels cut all patches. torch.onnx.export and torch.export trace it for any B >= 1.
    """

    rows: Tensor  # [R * p], the image row of each pixel row of the patches; of mode fixed, their pixels [P * p * p]
    columns: Tensor  # [X * p]
    corners: Tensor  # [P, 2]

    def __init__(self, network: SetNetwork, image_size: Sequence[int], mode: str) -> None:
        super().__init__()
        corners_P2 = fixed_corners(network, image_size, mode)
        assert network.cutout is not None
        self.network, self.size, self.mode = network, network.cutout.size, mode
        self.register_buffer("corners", corners_P2, persistent=False)
        self.whole_lines = mode != "fixed"
        if not self.whole_lines:
            y_Pp, x_Pp = (
                corners_P2[:, axis, None] + torch.arange(self.size, device=corners_P2.device) for axis in (0, 1)
            )
            self.register_buffer("rows", (y_Pp[:, :, None] * image_size[1] + x_Pp[:, None]).flatten(), persistent=False)
            return
        first_R, first_X = (corners_P2[:, axis].unique() for axis in (0, 1))
        self.register_buffer("rows", self._pixels(first_R), persistent=False)
        self.register_buffer("columns", self._pixels(first_X), persistent=False)

    @property
    def num_patches(self) -> int:
        return len(self.corners)

    def _pixels(self, first: Tensor) -> Tensor:
        return (first[:, None] + torch.arange(self.size)).flatten()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        batch, channels = images_BCHW.shape[:2]
        if self.whole_lines:
            cut_BCRpXp = images_BCHW.index_select(2, self.rows).index_select(3, self.columns)
            cut_BCRpXp = cut_BCRpXp.unflatten(3, (-1, self.size)).unflatten(2, (-1, self.size))
            patches_NCpp = cut_BCRpXp.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, self.size, self.size)
        else:
            cut_BCPpp = images_BCHW.flatten(2).index_select(2, self.rows).unflatten(2, (-1, self.size, self.size))
            patches_NCpp = cut_BCPpp.transpose(1, 2).reshape(-1, channels, self.size, self.size)
        lengths_B = images_BCHW.new_full((batch,), self.num_patches, dtype=torch.int64)
        index_N = torch.arange(batch, device=images_BCHW.device).repeat_interleave(self.num_patches)
        patches = SetBatch.trusted(patches_NCpp, lengths_B, index_N, self.num_patches)
        corners = patches.with_values(self.corners.repeat(batch, 1))
        return self.network.read(self.network.encode(patches, corners))


def fixed_corners(network: Any, image_size: Sequence[int], mode: str) -> Tensor:
    """Return the corners [P, 2] of patches that are cut out of each image in a mode.

    `grid` or `all`: the patches of PatchCutout's mode. `even`: evenly spaced, as many as the network draws in
    evaluation, or a few less. `fixed`: the learned places of the network, as many as in evaluation. Raises ValueError
    for a network of bags, for other modes, for `even` of a network that draws no patches, and for `fixed` of one that
    has learned no places.
    """
    learned = ["fixed"] if hasattr(network.cutout, "order") else []
    if network.cutout is None or mode not in ("even", "grid", "all", *learned):
        raise ValueError(f"mode={mode!r}: choose even, grid or all, of a network that cuts images")
    if mode == "even" and not draws_patches(network):
        raise ValueError("mode='even': this network draws no patches, choose grid or all")
    size = network.cutout.size
    if mode == "even":
        rows, columns = (side - size + 1 for side in image_size)
        return evenly_spaced(patch_num_range(network)[1], rows, columns)
    if mode == "fixed":
        return network.cutout.order()[: patch_num_range(network)[1]]
    cutout = PatchCutout(size, mode=mode)
    return cutout.positions(torch.empty(1, 1, *image_size), torch.zeros(1, dtype=torch.int64)).values


def evenly_spaced(number: int, rows: int, columns: int) -> Tensor:
    """Return a nearly square lattice, from edge to edge, of `number` of rows x columns places or a few less, [P, 2]."""
    lattice_rows = min(rows, max(1, round(math.sqrt(number * rows / columns))))
    lattice_columns = min(columns, max(1, number // lattice_rows))
    lattice_rows = min(rows, max(1, number // lattice_columns))
    return torch.cartesian_prod(_spread(lattice_rows, rows), _spread(lattice_columns, columns))


def _spread(number: int, places: int) -> Tensor:
    """Return `number` of 0 .. places - 1 from the first to the last; one alone is in the middle."""
    if number == 1:
        return torch.tensor([(places - 1) // 2])
    return torch.tensor([round(i * (places - 1) / (number - 1)) for i in range(number)])
