"""Multihead attention block, the part that SAB, ISAB and PMA of the Set Transformer are made of."""

# N elements in all, B sets, K vectors of a set, D features

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from set_module.attention import MultiheadAttention
from set_module.set_batch import SetBatch
from set_module.set_norm import SetNorm

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "post": nn.LayerNorm,
    "pre": nn.LayerNorm,
    "set": SetNorm,
    "none": lambda _: nn.Identity(),
}


class MAB(nn.Module):
    """norm: post  H = LN(X + Multihead(X, Y, Y)), MAB(X, Y) = LN(H + rFF(H)); none: the same without LN.

    Lee et al. 2019, "Set Transformer", arXiv:1810.00825, eq. 6, 7. norm: pre  H = X + Multihead(LN X, LN Y, LN Y),
    H + rFF(LN H), which deep stacks train with: Xiong et al. 2020, arXiv:2002.04745. norm: set  the same with SetNorm:
    the Set Transformer++, Zhang et al. 2022, arXiv:2206.11925. X and Y share one norm, because the projections
    after it can scale and shift them separately. rFF(H) = relu(H W), as in the authors' code; with an expansion e,
    relu(H W_1) W_2 of e * D hidden features, as in the Transformer: arXiv:1706.03762. Dropout acts on both summands.
    X and Y are those of MultiheadAttention. Raises ValueError for an unknown norm and heads that do not divide D.
    """

    def __init__(
        self, in_features: int, heads: int, norm: str = "post", expansion: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"no such norm: {norm!r}; choose from {', '.join(NORMS)}")
        if expansion is not None and expansion < 1:
            raise ValueError(f"{expansion=}: choose >= 1, or null for rFF without a hidden layer")
        self.normalises_first = norm in ("pre", "set")
        self.attention = MultiheadAttention(in_features, heads)
        self.norm_attention = NORMS[norm](in_features)
        self.feed_forward = _feed_forward(in_features, expansion)
        self.norm_feed_forward = NORMS[norm](in_features)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: SetBatch | Tensor, y: SetBatch | Tensor) -> SetBatch | Tensor:
        if self.normalises_first:
            h = self._add(x, self.attention(*self._normed(x, y)))
            return self._add(h, _each(self.feed_forward, _each(self.norm_feed_forward, h)))
        h = _each(self.norm_attention, self._add(x, self.attention(x, y)))
        return _each(self.norm_feed_forward, self._add(h, _each(self.feed_forward, h)))

    def weights(self, x_KD: Tensor, y: SetBatch) -> SetBatch:
        """Return the attention of K shared vectors, per head: SetBatch of [N, K * H], which sums to 1 over a set."""
        return self.attention.weights(*(self._normed(x_KD, y) if self.normalises_first else (x_KD, y)))

    def _normed(self, x: SetBatch | Tensor, y: SetBatch | Tensor) -> tuple[Any, Any]:
        normed_x = _each(self.norm_attention, x)
        return normed_x, normed_x if y is x else _each(self.norm_attention, y)

    def _add(self, x: SetBatch | Tensor, summand: SetBatch | Tensor) -> SetBatch | Tensor:
        if isinstance(x, SetBatch) and isinstance(summand, SetBatch):
            return x.with_values(x.values + self.dropout(summand.values))
        return x + self.dropout(summand)


def _feed_forward(features: int, expansion: int | None) -> nn.Sequential:
    if expansion is None:
        return nn.Sequential(nn.Linear(features, features), nn.ReLU())
    hidden = expansion * features
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, features))


def _each(module: nn.Module, x: SetBatch | Tensor) -> SetBatch | Tensor:
    """Apply SetNorm to the sets, any other module to each element, whether packed or K of each set."""
    if isinstance(module, SetNorm):
        return module(x) if isinstance(x, SetBatch) else module.of_vectors(x)
    return x.map(module) if isinstance(x, SetBatch) else module(x)
