"""Form of a patch network for export that takes padded patches and a mask, as ONNX has no sets."""

# B sets, S slots of a set, C channels, p side of a patch, K outputs

import torch
from torch import Tensor, nn

from set_module.set_batch import SetBatch
from set_module.set_network import SetNetwork


class PaddedPatches(nn.Module):
    """Patch network (patches uint8 [B, S, C, p, p], mask bool [B, S], true where there is a patch) -> logits [B, K].

    Values in the other slots have no effect. In an exported graph, an empty set has the logits NaN. Networks that
    use positions take the corners (y, x) as well, int64 [B, S, 2]. torch.onnx.export and torch.export trace it for any
    B and S.
    """

    def __init__(self, network: SetNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, patches_BSCpp: Tensor, mask_BS: Tensor, corners_BS2: Tensor | None = None) -> Tensor:
        patches = SetBatch.from_padded(patches_BSCpp, mask_BS)
        corners = None if corners_BS2 is None else SetBatch.from_padded(corners_BS2, mask_BS)
        logits_BK = self.network.read(self.network.encode(patches, corners))
        return logits_BK.masked_fill(~mask_BS.any(1, keepdim=True), torch.nan)
