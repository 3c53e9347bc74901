"""The pool without parameters: chosen reductions side by side, the baseline that learned pools must beat."""

# B sets, N elements in all, D features, R reductions

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from set_module.reduce import set_max, set_mean, set_min, set_std, set_sum
from set_module.set_batch import SetBatch
from set_module.set_sequential import SetModule

REDUCTIONS: dict[str, Callable[[SetBatch], Tensor]] = {
    "sum": set_sum,
    "mean": set_mean,
    "max": set_max,
    "min": set_min,
    "std": set_std,
}


class ReducePool(SetModule):
    """Concatenated reductions of a set: z = [r_1(X), ..., r_R(X)], r of sum, mean, max, min, std.

    Zaheer et al. 2017, "Deep Sets", arXiv:1703.06114; several at once: Corso et al. 2020, arXiv:2004.05718.
    SetBatch of [N, D] -> [B, R * D]. Raises ValueError for an unknown reduction or none.
    """

    def __init__(self, in_features: int, reductions: Sequence[str]) -> None:
        super().__init__()
        valid = ", ".join(REDUCTIONS)
        if isinstance(reductions, str) or not reductions:
            raise ValueError(f"reductions={reductions!r}: give a list of at least one of {valid}")
        for name in reductions:
            if name not in REDUCTIONS:
                raise ValueError(f"no such reduction: {name!r}; choose from {valid}")
        self.reductions = list(reductions)
        self.out_features = len(self.reductions) * in_features

    def forward(self, sets: SetBatch) -> Tensor:
        return torch.cat([REDUCTIONS[name](sets) for name in self.reductions], dim=1)

    def extra_repr(self) -> str:
        return ", ".join(self.reductions)
