"""Form of a patch network for export that takes images and cuts patches at fixed places."""

# B images, C H W of an image, P patches of each, R rows and X columns of them, p side of a patch, K classes

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from set_module.patch_cutout import PatchCutout
from set_module.set_batch import SetBatch
from set_module.set_network import SetNetwork


class FixedPatches(nn.Module):
    """Patch network uint8 [B, C, H, W] -> logits [B, K] with the patches of PatchCutout's mode `grid` or `all`.

    As places form whole rows and columns, two selections of pixels cut all patches, and torch.onnx.export and
    torch.export trace it for any B >= 1. Raises ValueError for a network of bags and other modes.
    """

    rows: Tensor  # [R * p], the image row of each pixel row of the patches
    columns: Tensor  # [X * p]
    corners: Tensor  # [P, 2]

    def __init__(self, network: SetNetwork, image_size: Sequence[int], mode: str) -> None:
        super().__init__()
        if network.cutout is None or mode not in ("grid", "all"):
            raise ValueError(f"mode={mode!r}: choose grid or all, of a network that cuts images")
        self.network, self.size = network, network.cutout.size
        places = PatchCutout(self.size, mode=mode).positions((1, 1, *image_size), torch.zeros(1, dtype=torch.int64))
        self.register_buffer("corners", places.values, persistent=False)
        first_R, first_X = (places.values[:, axis].unique() for axis in (0, 1))
        self.register_buffer("rows", self._pixels(first_R), persistent=False)
        self.register_buffer("columns", self._pixels(first_X), persistent=False)

    @property
    def num_patches(self) -> int:
        return len(self.corners)

    def _pixels(self, first: Tensor) -> Tensor:
        return (first[:, None] + torch.arange(self.size)).flatten()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        batch, channels = images_BCHW.shape[:2]
        cut_BCRpXp = images_BCHW.index_select(2, self.rows).index_select(3, self.columns)
        cut_BCRpXp = cut_BCRpXp.unflatten(3, (-1, self.size)).unflatten(2, (-1, self.size))
        patches_NCpp = cut_BCRpXp.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, self.size, self.size)
        lengths_B = images_BCHW.new_full((batch,), self.num_patches, dtype=torch.int64)
        index_N = torch.arange(batch, device=images_BCHW.device).repeat_interleave(self.num_patches)
        patches = SetBatch.trusted(patches_NCpp, lengths_B, index_N, self.num_patches)
        corners = patches.with_values(self.corners.repeat(batch, 1))
        return self.network.read(self.network.encode(patches, corners))
