"""Pooling by attention of learned seeds to the elements of a set."""

# B sets, N elements in all, k seeds, D features, H heads

import torch
from torch import Tensor, nn

from set_module.mab import MAB
from set_module.set_batch import SetBatch
from set_module.set_sequential import SetModule


class PMA(SetModule):
    """PMA_k(Z) = MAB(S, rFF(Z)), S k learned seeds; the k vectors are concatenated.

    Lee et al. 2019, "Set Transformer", arXiv:1810.00825, eq. 11. With self_attention an SAB follows, in which the k
    vectors attend to each other (the paper's decoder, for k > 1). SetBatch of [N, D] -> [B, k * D], k the attribute
    `vectors`; norm, expansion and dropout are those of MAB. Raises ValueError without a seed.
    """

    def __init__(
        self,
        in_features: int,
        heads: int = 4,
        seeds: int = 1,
        self_attention: bool = False,
        norm: str = "post",
        expansion: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if seeds < 1:
            raise ValueError(f"{seeds=}: give at least one seed, each makes one vector of the set")
        self.seeds_kD = nn.Parameter(nn.init.xavier_uniform_(torch.empty(seeds, in_features)))
        self.feed_forward = nn.Sequential(nn.Linear(in_features, in_features), nn.ReLU())
        self.mab = MAB(in_features, heads, norm, expansion, dropout)
        self.self_attention = MAB(in_features, heads, norm, expansion, dropout) if self_attention else None
        self.vectors, self.out_features = seeds, seeds * in_features

    def forward(self, sets: SetBatch) -> Tensor:
        pooled_BkD = self.mab(self.seeds_kD, sets.map(self.feed_forward))
        if self.self_attention is not None:
            pooled_BkD = self.self_attention(pooled_BkD, pooled_BkD)
        return pooled_BkD.flatten(1)

    def weights(self, sets: SetBatch) -> SetBatch:
        """Return the attention of each seed, per head: SetBatch of [N, k * H], which sums to 1 over a set."""
        return self.mab.weights(self.seeds_kD, sets.map(self.feed_forward))
