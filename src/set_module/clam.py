"""Clustering-constrained attention (CLAM): the instances of most and least attention learn to be told apart."""

# B sets, N elements in all, D features, K classes, H branches of attention: 1 or K

from collections.abc import Container, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from set_module.attention_pool import AttentionPool
from set_module.bag_classifier import BagClassifier, known_output
from set_module.reduce import accumulable, set_sum
from set_module.set_batch import SetBatch
from set_module.set_product import set_weighted_sum


class CLAM(BagClassifier):
    """y_k = w_k . z_k + b_k, z_k = sum_i a_ik h_i, a the weights of gated attention, one branch for all k or for each.

    Lu et al. 2021, "Data-efficient and weakly supervised computational pathology on whole-slide images",
    arXiv:2004.09666, CLAM_SB and CLAM_MB of the authors' code, whose first layer is here the embedding of the network.
    SetBatch of [N, D] -> [B, K]; `outputs` knows `weights` [N, H] and `cluster_logits` [N, K, 2], for CLAMLoss: the
    logits of h_i not being, and being, evidence for class k.
    """

    known = ("weights", "cluster_logits")

    def __init__(
        self, in_features: int, num_outputs: int, hidden: int = 256, gated: bool = True, multi_branch: bool = False
    ) -> None:
        super().__init__()
        self.weighs_each_class = multi_branch
        self.attention = AttentionPool(in_features, hidden, num_outputs if multi_branch else 1, gated)
        self.bag = nn.Linear(in_features, num_outputs)
        self.cluster = nn.Linear(in_features, 2 * num_outputs)
        self.out_features = num_outputs

    def outputs(self, sets: SetBatch, names: Container[str] = ()) -> dict[str, Any]:
        weights = self.attention.weights(sets)
        pooled_BHD = set_weighted_sum(weights, sets.values).to(sets.values.dtype)
        if pooled_BHD.shape[1] == 1:
            output_BK = self.bag(pooled_BHD[:, 0])
        else:
            output_BK = (pooled_BHD * self.bag.weight).sum(2) + self.bag.bias
        found = {"output": output_BK, "weights": weights}
        if "cluster_logits" in names:
            found["cluster_logits"] = sets.map(self.cluster).map(lambda logits_NJ: logits_NJ.unflatten(1, (-1, 2)))
        return found


class CLAMLoss(nn.Module):
    """c CE(y, Y) + (1 - c) mean_b L_b, L_b the cross-entropy of the cluster logits of instances of set b.

    The k instances of the largest weights in the branch of the label Y are evidence for Y, the k of the smallest are
    not: L_b is the mean over these 2 k, for class Y. With subtyping, where a set holds evidence of one class only, the
    k of the largest weights are no evidence for each other class, and L_b is the sum of the means over K. A set of n
    takes k = min(samples, n // 2), so that no instance is in both groups; one of a single instance has L_b = 0. Lu et
    al. 2021, arXiv:2004.09666, with the cross-entropy of the authors' code (inst_loss=ce). Logits [B, K], labels [B]
    and what CLAM knows -> []. Raises ValueError for a weight outside of 0..1, samples below 1 and other targets.
    """

    def __init__(
        self, bag_weight: float = 0.7, samples: int = 8, subtyping: bool = True, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= bag_weight <= 1:
            raise ValueError(f"{bag_weight=}: choose 0 to 1")
        if samples < 1:
            raise ValueError(f"{samples=}: choose >= 1")
        self.bag_weight, self.samples, self.subtyping = bag_weight, samples, subtyping
        self.bag_loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)

    def forward(self, outputs_BK: Tensor, labels_B: Tensor, others: Mapping[str, Any]) -> Tensor:
        bag_loss = self.bag_loss(outputs_BK, labels_B)
        return self.bag_weight * bag_loss + (1 - self.bag_weight) * self.instance_loss(labels_B, others)

    def instance_loss(self, labels_B: Tensor, others: Mapping[str, Any]) -> Tensor:
        """Return the mean of L_b over the sets."""
        if labels_B.is_floating_point() or labels_B.ndim != 1:
            raise ValueError("loss=clam takes one label for each set: choose loss=instance for several")
        weights, clusters = (known_output(others, name) for name in CLAM.known)
        classes = clusters.values.shape[1]
        count_B = (weights.lengths // 2).clamp(max=self.samples)
        count_N, length_N, label_N = (
            each_B.index_select(0, weights.index) for each_B in (count_B, weights.lengths, labels_B)
        )
        losses = []
        for k in range(classes):
            rank_N = ranks(weights, k if weights.values.shape[1] > 1 else 0)
            first_N, last_N = rank_N < count_N, rank_N >= length_N - count_N
            own_N = label_N == k
            chosen_N = own_N & (first_N | last_N)
            if self.subtyping:
                chosen_N = chosen_N | (~own_N & first_N)
            loss_N = F.cross_entropy(accumulable(clusters.values[:, k]), (own_N & first_N).long(), reduction="none")
            share_N = chosen_N / (count_N * (1 + own_N.long())).clamp(min=1)
            losses.append(set_sum(weights.with_values((loss_N * share_N)[:, None])).mean())
        return torch.stack(losses).sum() / (classes if self.subtyping else 1)


def ranks(scores: SetBatch, column: int) -> Tensor:
    """Return the rank of each element in its set by one column of its scores [N, H], the largest first, int64 [N]."""
    order_N = scores.values[:, column].argsort(descending=True, stable=True)
    order_N = order_N.index_select(0, scores.index.index_select(0, order_N).argsort(stable=True))
    return torch.empty_like(order_N).index_copy_(0, order_N, scores.numbers())
