"""Additive multiple instance learning: the logits of a bag are a sum over its instances."""

# B sets, N elements in all, D features, K outputs

from collections.abc import Container, Sequence
from itertools import pairwise
from typing import Any

from torch import nn

from set_module.attention_pool import AttentionPool
from set_module.bag_classifier import BagClassifier
from set_module.reduce import accumulable, set_sum
from set_module.set_batch import SetBatch


class AdditiveMIL(BagClassifier):
    """y = sum_i f(a_i h_i), f an MLP, a the weights of (gated) attention over the set: each summand is a contribution.

    Javed et al. 2022, "Additive MIL: Intrinsically Interpretable Multiple Instance Learning", arXiv:2206.01794, eq. 7;
    the attention is that of AttentionPool. SetBatch of [N, D] -> [B, K]; `outputs` knows `weights` [N, 1] and the
    contributions, `instance_logits` [N, K]. Raises ValueError for sizes below 1.

    Args:
        hidden: hidden features of the attention.
        widths: those of the hidden layers of f.
    """

    known = ("weights", "instance_logits")

    def __init__(
        self,
        in_features: int,
        num_outputs: int,
        hidden: int = 128,
        gated: bool = True,
        widths: Sequence[int] = (128,),
    ) -> None:
        super().__init__()
        if any(width < 1 for width in widths):
            raise ValueError(f"widths={list(widths)}: choose each >= 1")
        self.attention = AttentionPool(in_features, hidden, gated=gated)
        layers: list[nn.Module] = []
        for before, after in pairwise([in_features, *widths]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.contribution = nn.Sequential(*layers, nn.Linear([in_features, *widths][-1], num_outputs))  # f
        self.out_features = num_outputs

    def outputs(self, sets: SetBatch, names: Container[str] = ()) -> dict[str, Any]:
        weights = self.attention.weights(sets)
        weighted_ND = (weights.values * sets.values).to(sets.values.dtype)
        contributions = sets.with_values(self.contribution(weighted_ND))
        output_BK = set_sum(contributions.map(accumulable)).to(contributions.values.dtype)
        return {"output": output_BK, "weights": weights, "instance_logits": contributions}
