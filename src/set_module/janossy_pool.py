"""Janossy pooling: the mean of a network of all tuples of k elements, which sees how elements occur together."""

# B sets, N elements in all, n of one set, T tuples in all, D features, L hidden features

import torch
from torch import Tensor, nn

from set_module.reduce import accumulable, add_up
from set_module.set_batch import SetBatch
from set_module.set_sequential import SetModule


class JanossyPool(SetModule):
    """z = mean over ordered tuples of k different elements of f(x_i1, ..., x_ik), f = W relu(sum_j V_j x_ij + b) + c.

    Murphy et al. 2019, "Janossy Pooling", arXiv:1811.01900, section 2.3 (k-ary dependencies). A set of fewer than k
    elements takes its tuples with repetition. The V_j x_i are computed once for each element; time and memory grow with
    n^k: choose data.max_elements for large sets. SetBatch of [N, D] -> [B, width]. Raises ValueError for sizes below 1.
    """

    untraceable = "the tuples of JanossyPool differ with the sizes of the sets: choose another model/pool"

    def __init__(self, in_features: int, k: int = 2, hidden: int = 128, width: int = 128) -> None:
        super().__init__()
        for name, number in (("k", k), ("hidden", hidden), ("width", width)):
            if number < 1:
                raise ValueError(f"{name}={number}: choose >= 1")
        self.k = k
        self.places = nn.Linear(in_features, k * hidden)  # V_1 ... V_k, and b in k parts
        self.out = nn.Linear(hidden, width)  # W, c: linear, so it follows the mean
        self.out_features = width

    def forward(self, sets: SetBatch) -> Tensor:
        member_Tk, tuples = self._tuples(sets)
        places_NkL = accumulable(self.places(sets.values)).unflatten(1, (self.k, -1))
        hidden_TL = torch.stack([places_NkL[:, j].index_select(0, member_Tk[:, j]) for j in range(self.k)]).sum(0)
        sum_BL = add_up(hidden_TL.relu(), tuples.index, len(tuples), tuples.max_len)
        return self.out((sum_BL / tuples.lengths[:, None]).to(sets.values.dtype))

    def _tuples(self, sets: SetBatch) -> tuple[Tensor, SetBatch]:
        """Return the positions of the elements of each tuple, [T, k], and the tuples as sets. Waits for a GPU."""
        every = SetBatch(sets.index.new_zeros(int((sets.lengths**self.k).sum())), sets.lengths**self.k)
        length_T, number_T = sets.lengths.index_select(0, every.index), every.numbers()
        digits_Tk = torch.stack([number_T // length_T**j % length_T for j in range(self.k)], dim=1)
        first_T = (sets.lengths.cumsum(0) - sets.lengths).index_select(0, every.index)
        sorted_Tk = digits_Tk.sort(1).values
        kept_T = (sorted_Tk[:, 1:] != sorted_Tk[:, :-1]).all(1) | (length_T < self.k)
        lengths_B = torch.zeros_like(sets.lengths).index_add(0, every.index, kept_T.long())
        member_Tk = (first_T[:, None] + digits_Tk)[kept_T]
        return member_Tk, SetBatch(member_Tk[:, 0], lengths_B)
