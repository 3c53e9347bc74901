"""A bag of local features: each patch has logits of its own, so that its contribution can be drawn."""

# B images, N patches in all, D features, H W of an image, K outputs

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from network.patch_network import PatchNetwork
from set_module.patch_heat_map import heat_map
from set_module.set_batch import SetBatch


class BagOfPatches(PatchNetwork):
    """y = pool({head(embed(x_i))}), head linear: the pooled logits of the patches, usually their mean.

    With an encoder, the logits of a patch depend on the other patches too. Brendel & Bethge 2019, arXiv:1904.00760
    (BagNet). uint8 [B, C, H, W] -> [B, K]. Raises ValueError for a pool that does not return K logits for K logits.
    """

    def __init__(self, num_outputs: int, pool: Callable[..., Any], dropout: float = 0.0, **patches: Any) -> None:
        super().__init__(**patches)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.num_features, num_outputs))
        self.pool = pool(in_features=num_outputs)
        if self.pool.out_features != num_outputs:
            raise ValueError(
                f"the pool returns {self.pool.out_features} values for {num_outputs} logits: give one "
                "reduction, such as hparams.pool=[mean]"
            )
        self.check_returns()

    def read(self, features: SetBatch) -> Tensor:
        return self.pool(features.map(self.head))

    def other_outputs(self) -> Mapping[str, Callable[[SetBatch], SetBatch]]:
        """Return what `returns` may name: `instance_logits` [N, K], and `weights` [N, H] of a pool with weights."""
        others = super().other_outputs()
        of_logits = {name: lambda features, call=call: call(features.map(self.head)) for name, call in others.items()}
        return {"instance_logits": lambda features: features.map(self.head)} | of_logits

    def heat_map(self, images_BCHW: Tensor, index_B: Tensor | None = None) -> Tensor:
        """Return logits per pixel [B, K, H, W], the mean over the patches that cover it, NaN where none does."""
        patches, corners = self.cut(images_BCHW, index_B)
        if corners is None:
            raise ValueError("the elements of sets have no places: give images")
        logits = self.encode(patches, corners).map(self.head)
        return heat_map(logits, corners, patches.values.shape[-1], images_BCHW.shape[2:])

    def scores(self, patches: SetBatch, corners: SetBatch, labels_B: Tensor) -> SetBatch:
        """Return the patches' own logits of the label."""
        with torch.no_grad():
            logits = self.encode(patches, corners).map(self.head)
        return logits.with_values(logits.values.gather(1, labels_B[logits.index, None]))
