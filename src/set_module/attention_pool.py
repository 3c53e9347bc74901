"""The attention pool of multiple instance learning, which learns a weight for each element."""

# B sets, N elements in all, D features, L hidden features, H heads

from torch import Tensor, nn

from set_module.reduce import accumulable
from set_module.set_batch import SetBatch
from set_module.set_product import set_weighted_sum
from set_module.set_sequential import SetModule
from set_module.softmax import set_softmax


class AttentionPool(SetModule):
    """Attention pooling: z = sum_i a_i h_i, a = softmax_i w^T tanh(V h_i); gated, w^T (tanh(V h_i) * sigmoid(U h_i)).

    Ilse et al. 2018, "Attention-based Deep Multiple Instance Learning", arXiv:1802.04712, eq. 7 to 9; V and U with
    a bias, as in the published code. Each of H heads has a w of its own; their sums are concatenated.
    SetBatch of [N, D] -> [B, H * D]. Raises ValueError for hidden or heads below 1.
    """

    def __init__(self, in_features: int, hidden: int, heads: int = 1, gated: bool = False) -> None:
        super().__init__()
        for name, number in (("hidden", hidden), ("heads", heads)):
            if number < 1:
                raise ValueError(f"{name}={number}: choose >= 1")
        self.hidden = nn.Linear(in_features, hidden)  # V
        self.gate = nn.Linear(in_features, hidden) if gated else None  # U
        self.score = nn.Linear(hidden, heads, bias=False)  # w; a bias would cancel in the softmax
        self.out_features = heads * in_features

    def forward(self, sets: SetBatch) -> Tensor:
        return set_weighted_sum(self.weights(sets), sets.values).flatten(1).to(sets.values.dtype)

    def weights(self, sets: SetBatch) -> SetBatch:
        """Return a: SetBatch of [N, H], fp32 also in half precision, whose columns sum to 1 over a set."""
        scores = self.scores(sets)
        return scores.with_values(set_softmax(scores))

    def scores(self, sets: SetBatch) -> SetBatch:
        """Return what the softmax makes weights of: SetBatch of [N, H], each a function of one element."""
        hidden_NL = self.hidden(sets.values).tanh()
        if self.gate is not None:
            hidden_NL = hidden_NL * self.gate(sets.values).sigmoid()
        return sets.with_values(accumulable(self.score(hidden_NL)))
