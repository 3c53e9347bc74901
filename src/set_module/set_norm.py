"""Normalisation of a whole set at once, which keeps the differences between its elements."""

# B sets, N elements in all, K vectors of a set, D features

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from set_module.reduce import accumulable, set_mean
from set_module.set_batch import SetBatch
from set_module.set_sequential import SetModule


class SetNorm(SetModule):
    """(x_id - mean) / sqrt(var + eps) * w_d + b_d, mean and var over all elements i and features d of the set.

    Zhang et al. 2022, "Set Norm and Equivariant Skip Connections: Putting the Deep in Deep Sets",
    arXiv:2206.11925. SetBatch of [N, D] -> SetBatch of [N, D].
    """

    def __init__(self, in_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(in_features))
        self.bias = nn.Parameter(torch.zeros(in_features))
        self.out_features = in_features

    def forward(self, sets: SetBatch) -> SetBatch:
        x = sets.map(accumulable)
        centred = x.with_values(x.values - _mean(x))  # E[x^2] - E[x]^2 would cancel
        scale_N1 = (_mean(centred.map(torch.square)) + self.eps).rsqrt()
        return sets.with_values(torch.addcmul(self.bias, centred.values * scale_N1, self.weight).to(sets.values.dtype))

    def of_vectors(self, x_BKD: Tensor) -> Tensor:
        """Normalise sets of K vectors each, [..., K, D] -> [..., K, D]."""
        return torch.addcmul(self.bias, F.layer_norm(x_BKD, x_BKD.shape[-2:], eps=self.eps), self.weight)


def _mean(sets: SetBatch) -> Tensor:
    """Return the mean over elements and features of each element's set, [N, 1]."""
    return set_mean(sets.map(lambda values_ND: values_ND.mean(1, keepdim=True))).index_select(0, sets.index)
