"""Featurewise sort pooling: a learned weight for each rank, which can express max, min, sum and median."""

# B sets of S slots, N elements in all, D features, K knots

import torch
from torch import Tensor, nn

from set_module.reduce import accumulable, set_sum
from set_module.set_batch import SetBatch
from set_module.set_sequential import SetModule


class SortPool(SetModule):
    """FSPool: z_d = sum_i f_d(r_i) x_(i)d, x_(0)d >= x_(1)d >= ... the set's feature d in descending order.

    The rank r_i = i / (n - 1) of 0 .. 1, 0 in a set of one, and f_d piecewise linear with learned values w_kd at its
    K = pieces + 1 knots, f_d(r) = sum_k max(0, 1 - |pieces r - k|) w_kd. Zhang, Hare and Pruegel-Bennett 2019,
    "FSPool", arXiv:1906.02795, eq. 1 to 3. SetBatch of [N, D] -> [B, D]. It pads to sort, so its
    memory grows with the largest set. Raises ValueError for pieces below 1.
    """

    def __init__(self, in_features: int, pieces: int = 20) -> None:
        super().__init__()
        if pieces < 1:
            raise ValueError(f"pieces={pieces}: choose >= 1")
        self.pieces = pieces
        self.knots_KD = nn.Parameter(torch.randn(pieces + 1, in_features))  # N(0, 1), as in the published code
        self.out_features = in_features

    def forward(self, sets: SetBatch) -> Tensor:
        padded_BSD, _ = sets.pad(-torch.inf)  # padding is sorted to the end and left out
        sorted_BSD = padded_BSD.sort(dim=1, descending=True).values
        sorted_ND = sorted_BSD.flatten(0, 1).index_select(0, sets.slots())
        return set_sum(sets.with_values(accumulable(sorted_ND) * self._weights(sets))).to(sets.values.dtype)

    def _weights(self, sets: SetBatch) -> Tensor:
        """Return f(r_i), [N, D]."""
        knots_KD = accumulable(self.knots_KD)
        last_N = (sets.lengths - 1).clamp(min=1).index_select(0, sets.index)
        place_N = self.pieces * sets.numbers().to(knots_KD.dtype) / last_N  # on the axis of the knots
        knot_K = torch.arange(self.pieces + 1, device=place_N.device)
        return (1 - (place_N[:, None] - knot_K).abs()).clamp(min=0) @ knots_KD

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}"
