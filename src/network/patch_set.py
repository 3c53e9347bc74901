"""Patch-set network, the subject of this repository: classifies an image by a set of its patches, in any order."""

# B images, D features, K classes

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from network.mlp_embed import MLP
from network.patch_network import PatchNetwork
from set_module.set_batch import SetBatch


class PatchSet(PatchNetwork):
    """y = head(pool(encoder({embed(x_i) + position(c_i)}))), head an MLP, x_i patches with corners c_i.

    Zaheer et al. 2017, "Deep Sets", arXiv:1703.06114; config/model lists networks that consist of other parts.
    pool(in_features=D) builds a set module, SetBatch of [N, D] -> [B, P], with `out_features`.
    uint8 [B, C, H, W] -> [B, K].
    """

    def __init__(
        self,
        num_outputs: int,
        pool: Callable[..., Any],
        hidden: Sequence[int] = (256,),
        dropout: float = 0.0,
        **patches: Any,
    ) -> None:
        super().__init__(**patches)
        self.pool = pool(in_features=self.num_features)
        mlp = MLP(self.pool.out_features, hidden)
        self.head = nn.Sequential(mlp, nn.Dropout(dropout), nn.Linear(mlp.out_features, num_outputs))
        self.check_returns()

    def read(self, features: SetBatch) -> Tensor:
        return self.head(self.pool(features))
