"""Self-attention through a few learned points, in time linear in the size of a set."""

# m inducing points, D features

import torch
from torch import nn

from set_module.mab import MAB
from set_module.set_batch import SetBatch
from set_module.set_sequential import SetModule


class ISAB(SetModule):
    """ISAB_m(X) = MAB(X, MAB(I, X)), I m learned inducing points.

    Lee et al. 2019, "Set Transformer", arXiv:1810.00825, eq. 9, 10. SetBatch of [N, D] -> SetBatch of [N, D]; norm,
    expansion and dropout are those of MAB. Raises ValueError without a point.
    """

    def __init__(
        self,
        in_features: int,
        heads: int = 4,
        points: int = 16,
        norm: str = "post",
        expansion: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if points < 1:
            raise ValueError(f"{points=}: give at least one inducing point")
        self.points_mD = nn.Parameter(nn.init.xavier_uniform_(torch.empty(points, in_features)))
        self.gather = MAB(in_features, heads, norm, expansion, dropout)
        self.scatter = MAB(in_features, heads, norm, expansion, dropout)
        self.out_features = in_features

    def forward(self, sets: SetBatch) -> SetBatch:
        return self.scatter(sets, self.gather(self.points_mD, sets))
