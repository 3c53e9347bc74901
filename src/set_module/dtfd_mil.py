"""Double-tier feature distillation (DTFD-MIL): a bag is a set of pseudo-bags, each of which learns its label."""

# B sets, N elements in all, M pseudo-bags of a set, P of them in all, D features, K outputs

from collections.abc import Container, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from set_module.attention_pool import AttentionPool
from set_module.bag_classifier import BagClassifier, known_output
from set_module.clam import ranks
from set_module.reduce import accumulable, set_mean
from set_module.set_batch import SetBatch


class DTFDMIL(BagClassifier):
    """y = W_2 pool_2({z_m}), z_m = pool_1(X_m) and its logits W_1 z_m, X_m the M pseudo-bags of the set.

    Zhang et al. 2022, "DTFD-MIL: Double-Tier Feature Distillation Multiple Instance Learning", arXiv:2203.12081, with
    aggregated features (AFS), the paper's best; both pools are (gated) attention. A set of n makes min(M, n)
    pseudo-bags, whose sizes differ by one at most: in training at random, in evaluation by the rank of an element in
    the first attention, one after another, so that the order of the elements means nothing. SetBatch of [N, D] -> [B,
    K]; `outputs` knows `pseudo_logits` for DTFDLoss, the pseudo-bags as elements, SetBatch of [P, K], and `weights` [N,
    1], the product of both attentions. Raises ValueError for M below 1. Waits for a GPU.
    """

    known = ("weights", "pseudo_logits")
    untraceable = "the pseudo-bags of DTFDMIL differ with the sizes of the sets: choose another model, such as clam"

    def __init__(
        self, in_features: int, num_outputs: int, pseudo_bags: int = 5, hidden: int = 128, gated: bool = True
    ) -> None:
        super().__init__()
        if pseudo_bags < 1:
            raise ValueError(f"{pseudo_bags=}: choose >= 1")
        self.pseudo_bags = pseudo_bags
        self.pools = nn.ModuleList(AttentionPool(in_features, hidden, gated=gated) for _ in range(2))
        self.heads = nn.ModuleList(nn.Linear(in_features, num_outputs) for _ in range(2))
        self.out_features = num_outputs

    def outputs(self, sets: SetBatch, names: Container[str] = ()) -> dict[str, Any]:
        first, second = self.pools
        order_N, pseudo_bags, number_B = self._pseudo_bags(sets)
        distilled = SetBatch(first(pseudo_bags), number_B)
        found: dict[str, Any] = {"output": self.heads[1](second(distilled))}
        if "pseudo_logits" in names:
            found["pseudo_logits"] = distilled.map(self.heads[0])
        if "weights" in names:
            of_bags_P1 = second.weights(distilled).values  # type: ignore[operator]
            weights_N1 = first.weights(pseudo_bags).values * of_bags_P1.index_select(0, pseudo_bags.index)  # type: ignore[operator]
            found["weights"] = sets.with_values(torch.empty_like(weights_N1).index_copy(0, order_N, weights_N1))
        return found

    def _pseudo_bags(self, sets: SetBatch) -> tuple[Tensor, SetBatch, Tensor]:
        """Return the order of the elements in pseudo-bags, these [N, D], and how many each set has, [B]."""
        if self.training:
            key_N1 = torch.rand(sets.index.shape[0], 1, device=sets.index.device)
        else:
            first: Any = self.pools[0]
            key_N1 = first.scores(sets).values.detach()
        number_B = sets.lengths.clamp(max=self.pseudo_bags)
        group_N = ranks(sets.with_values(key_N1), 0) % number_B.index_select(0, sets.index)
        group_N = group_N + (number_B.cumsum(0) - number_B).index_select(0, sets.index)
        order_N = group_N.argsort(stable=True)
        return order_N, SetBatch(sets.values.index_select(0, order_N), group_N.bincount()), number_B


class DTFDLoss(nn.Module):
    """CE(y, Y) + mean_b mean_m CE(logits of pseudo-bag m of b, Y_b).

    Zhang et al. 2022, arXiv:2203.12081, eq. 4 and 8, both tiers trained at once. Logits [B, K], labels [B] and
    `pseudo_logits` of DTFDMIL -> [].
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing, reduction="none")

    def forward(self, outputs_BK: Tensor, labels_B: Tensor, others: Mapping[str, Any]) -> Tensor:
        pseudo = known_output(others, "pseudo_logits")
        each_P = self.loss(accumulable(pseudo.values), labels_B.index_select(0, pseudo.index))
        first_B = set_mean(pseudo.with_values(each_P[:, None]))[:, 0]
        return (self.loss(outputs_BK, labels_B) + first_B).mean()
