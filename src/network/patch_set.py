"""Patch-set network, the subject of this repository: reads an image as a set of its patches, in any order."""

# B items, N elements in all, D features, k vectors of a pool, K outputs

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from network.mlp_embed import MLP
from network.patch_network import PatchNetwork
from set_module.set_batch import SetBatch


class PatchSet(PatchNetwork):
    """y = head(pool(encoder({embed(x_i) + position(c_i)}))), head an MLP, x_i patches with corners c_i.

    Zaheer et al. 2017, "Deep Sets", arXiv:1703.06114; config/model lists networks that consist of other parts.
    pool(in_features=D) builds a set module, SetBatch of [N, D] -> [B, P], with `out_features`. Inputs are those of
    PatchNetwork, outputs [B, K].

    Args:
        hidden: widths of the hidden layers of the head, with LayerNorm if `hidden_norm`.
        shared_head: whether one head reads each of the pool's `vectors` by itself, [B, k, P / k] -> [B, k, K / k], in
            place of all at once. Lee et al. 2019, arXiv:1810.00825, section 5.4: a vector for each component of a
            mixture. Raises ValueError for a pool that does not make vectors, and if k does not divide K.
    """

    def __init__(
        self,
        num_outputs: int,
        pool: Callable[..., Any],
        hidden: Sequence[int] = (256,),
        dropout: float = 0.0,
        hidden_norm: bool = True,
        shared_head: bool = False,
        **patches: Any,
    ) -> None:
        super().__init__(**patches)
        self.pool = pool(in_features=self.num_features)
        self.vectors = _vectors(self.pool, num_outputs) if shared_head else 1
        mlp = MLP(self.pool.out_features // self.vectors, hidden, hidden_norm)
        linear = nn.Linear(mlp.out_features, num_outputs // self.vectors)
        self.head = nn.Sequential(mlp, nn.Dropout(dropout), linear)
        self.check_returns()

    def read(self, features: SetBatch) -> Tensor:
        pooled_BP = self.pool(features)
        if self.vectors == 1:
            return self.head(pooled_BP)
        return self.head(pooled_BP.unflatten(1, (self.vectors, -1))).flatten(1)


def _vectors(pool: Any, num_outputs: int) -> int:
    vectors: int | None = getattr(pool, "vectors", None)
    if vectors is None:
        raise ValueError("shared_head=True: this pool makes one vector of a set: choose model/pool=pma and its seeds")
    if num_outputs % vectors:
        raise ValueError(f"shared_head=True: the {vectors} vectors of the pool do not divide {num_outputs} outputs")
    return vectors
