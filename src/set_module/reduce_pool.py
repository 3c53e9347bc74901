"""The pool without parameters: concatenated reductions, the baseline for learned pools."""

# B sets, N elements in all, D features, R reductions

from collections.abc import Callable, Sequence
from math import inf

import torch
from torch import Tensor

from set_module.reduce import accumulable, set_logsumexp, set_max, set_mean, set_min, set_std, set_sum
from set_module.set_batch import SetBatch
from set_module.set_sequential import SetModule
from set_module.softmax import set_softmax_sum

REDUCTIONS: dict[str, Callable[[SetBatch], Tensor]] = {
    "sum": set_sum,
    "mean": set_mean,
    "max": set_max,
    "min": set_min,
    "std": set_std,
    "logsumexp": set_logsumexp,
    "softmax": set_softmax_sum,
}


class ReducePool(SetModule):
    """Concatenated reductions of a set: z = [r_1(X), ..., r_R(X)], r of sum mean max min std logsumexp softmax.

    Zaheer et al. 2017, "Deep Sets", arXiv:1703.06114; several at once: Corso et al. 2020, arXiv:2004.05718.
    sum_scale multiplies the sum, which grows with the set: by 1 / sqrt(n) if "sqrt", which keeps the variance
    (Schneckenreiter et al. 2024, arXiv:2403.04747), by c if a number c, such as 1 / E[n]. SetBatch of [N, D] ->
    [B, R * D]. Raises ValueError for an unknown reduction or none, another sum_scale, and a sum_scale without a sum.
    """

    def __init__(self, in_features: int, reductions: Sequence[str], sum_scale: str | float | None = None) -> None:
        super().__init__()
        valid = ", ".join(REDUCTIONS)
        if isinstance(reductions, str) or not reductions:
            raise ValueError(f"reductions={reductions!r}: give a list of at least one of {valid}")
        for name in reductions:
            if name not in REDUCTIONS:
                raise ValueError(f"no such reduction: {name!r}; choose from {valid}")
        _check(sum_scale, reductions)
        self.reductions = list(reductions)
        self.sum_scale = sum_scale
        self.out_features = len(self.reductions) * in_features

    def forward(self, sets: SetBatch) -> Tensor:
        reduced = [self._reduce(name, sets) for name in self.reductions]
        return reduced[0] if len(reduced) == 1 else torch.cat(reduced, dim=1)

    def _reduce(self, name: str, sets: SetBatch) -> Tensor:
        if name != "sum" or self.sum_scale is None:
            return REDUCTIONS[name](sets)
        sum_BD = set_sum(sets.map(accumulable))  # scaled in fp32: in half precision a long sum is infinite
        if self.sum_scale == "sqrt":
            scaled_BD = sum_BD / sets.lengths[:, None].to(sum_BD.dtype).sqrt()
        else:
            scaled_BD = sum_BD * float(self.sum_scale)
        return scaled_BD.to(sets.values.dtype)

    def extra_repr(self) -> str:
        scale = "" if self.sum_scale is None else f", sum_scale={self.sum_scale}"
        return ", ".join(self.reductions) + scale


def _check(sum_scale: str | float | None, reductions: Sequence[str]) -> None:
    if sum_scale is None:
        return
    if not (sum_scale == "sqrt" if isinstance(sum_scale, str | bool) else 0 < sum_scale < inf):
        raise ValueError(f"sum_scale={sum_scale!r}: give null, sqrt or a number > 0, such as 1 / E[n]")
    if "sum" not in reductions:
        raise ValueError(f"sum_scale={sum_scale!r} but there is no sum: add sum to the reductions, or give null")
