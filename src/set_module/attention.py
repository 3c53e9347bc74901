"""Multihead attention within each set: inputs and outputs are packed, only the matrix products are padded."""

# B sets, N elements in all, S slots of a padded set, K vectors of a set, D features, H heads, E = D / H, P = Q, K or V

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from set_module.set_batch import SetBatch
from set_module.softmax import set_softmax


class MultiheadAttention(nn.Module):
    """Attention of every x to all y of its set: concat_h softmax(Q_h K_h^T / sqrt(E)) V_h W_o.

    Q = x W_q, K = y W_k, V = y W_v. Vaswani et al. 2017, arXiv:1706.03762, eq. 1. x and y are elements, SetBatch of
    [N, D], or K vectors of each set, a tensor [B, K, D]; x may also be K vectors shared by all sets, [K, D]. The output
    has the form of x, or [B, K, D] for shared vectors. Only Q, K and V are padded, for scaled_dot_product_attention;
    all other layers process N elements, not B * S. Raises ValueError if the heads do not divide the features.
    """

    def __init__(self, in_features: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or in_features % heads:
            raise ValueError(f"{heads=} does not divide {in_features=}: choose a divisor")
        self.heads = heads
        self.project = nn.Linear(in_features, 3 * in_features)  # W_q, W_k, W_v stacked
        self.out = nn.Linear(in_features, in_features)

    def forward(self, x: SetBatch | Tensor, y: SetBatch | Tensor) -> SetBatch | Tensor:
        if x is y:  # one product and one copy for all three
            q_BHSE, k_BHSE, v_BHSE = self._heads(x, 0, 3)
        else:
            (q_BHSE,) = self._heads(x, 0, 1)
            k_BHSE, v_BHSE = self._heads(y, 1, 3)
            q_BHSE = q_BHSE.expand(k_BHSE.shape[0], -1, -1, -1)
        attended_BHSE = F.scaled_dot_product_attention(q_BHSE, k_BHSE, v_BHSE, attn_mask=_mask(y))
        attended_BSD = attended_BHSE.transpose(1, 2).flatten(2)
        if not isinstance(x, SetBatch):
            return self.out(attended_BSD)
        attended_XD = attended_BSD.flatten(0, 1)
        return x.with_values(self.out(attended_XD if x.is_regular() else attended_XD.index_select(0, x.slots())))

    def weights(self, x_KD: Tensor, y: SetBatch) -> SetBatch:
        """Return the attention of K shared vectors, per head: SetBatch of [N, K * H], which sums to 1 over a set."""
        (q_HKE,), (k_HNE, _) = self._heads(x_KD, 0, 1), self._heads(y.values, 1, 3)
        scores_NKH = (q_HKE @ k_HNE.transpose(1, 2)).permute(2, 1, 0) / q_HKE.shape[-1] ** 0.5
        scores = y.with_values(scores_NKH.flatten(1))
        return scores.with_values(set_softmax(scores))

    def _heads(self, x: SetBatch | Tensor, first: int, last: int) -> list[Tensor]:
        """Project x to the parts first .. last - 1 of (Q, K, V), each [B, H, S, E]."""
        values = x.values if isinstance(x, SetBatch) else x
        features = values.shape[-1]
        rows = slice(first * features, last * features)
        projected = F.linear(values, self.project.weight[rows], self.project.bias[rows])
        if isinstance(x, SetBatch):
            projected = _padded(x, projected)
        parts_PBSHE = projected.unflatten(-1, (last - first, self.heads, -1)).unbind(-3)
        return [part_BSHE.transpose(-3, -2) for part_BSHE in parts_PBSHE]


def _padded(sets: SetBatch, values_NF: Tensor) -> Tensor:
    """Pad with zeros, as uninitialised memory may hold NaN, and an attention weight of 0 times NaN is NaN."""
    if not sets.is_regular():
        slots = values_NF.new_zeros(len(sets) * sets.max_len, values_NF.shape[1])
        values_NF = slots.index_copy_(0, sets.slots(), values_NF)
    return values_NF.view(len(sets), sets.max_len, -1)


def _mask(sets: SetBatch | Tensor) -> Tensor | None:
    """Return [B, 1, 1, S], true for slots that hold an element; None if all do."""
    if not isinstance(sets, SetBatch) or sets.is_regular():
        return None
    number_S = torch.arange(sets.max_len, device=sets.lengths.device)
    return (number_S < sets.lengths[:, None])[:, None, None, :]
