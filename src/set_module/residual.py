"""The residual block of deep Deep Sets."""

from torch import nn

from set_module.set_batch import SetBatch
from set_module.set_norm import SetNorm
from set_module.set_sequential import SetModule, SetSequential


class ResidualBlock(SetModule):
    """x_i + W_2 relu(SN(W_1 relu(SN(x_i)))): pre-norm, so that the skip connection is the identity.

    The equivariant residual connection of Deep Sets++, SN SetNorm: Zhang et al. 2022, arXiv:2206.11925, sec. 4.
    SetBatch of [N, D] -> SetBatch of [N, D].
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.residual = SetSequential(
            SetNorm(in_features),
            nn.ReLU(),
            nn.Linear(in_features, in_features),
            SetNorm(in_features),
            nn.ReLU(),
            nn.Linear(in_features, in_features),
        )
        self.out_features = in_features

    def forward(self, sets: SetBatch) -> SetBatch:
        return sets.with_values(sets.values + self.residual(sets).values)
