"""Dual-stream multiple instance learning: attention by the likeness to the critical instance."""

# B sets, N elements in all, D features, E hidden features, K outputs

from collections.abc import Container
from typing import Any

from torch import nn

from set_module.bag_classifier import BagClassifier
from set_module.reduce import set_argmax
from set_module.set_batch import SetBatch
from set_module.set_product import set_products, set_weighted_sum
from set_module.softmax import set_softmax


class DSMIL(BagClassifier):
    """y_k = (c_mk + W_b [z_1, ..., z_K]_k) / 2, z_k = sum_i a_ik h_i, a_ik = softmax_i (q_i . q_m / sqrt(E)).

    c_i = W_0 h_i the logits of an instance, m = argmax_i c_ik the critical instance of class k, q_i = W_q h_i. Li et
    al. 2021, "Dual-stream Multiple Instance Learning Network", arXiv:2011.08939, eq. 2 to 7, with v_i = h_i as in the
    authors' code, which trains each stream by a loss of its own: InstanceLoss(bag_weight=0.5) with average=False. With
    average=True, the bag's part of InstanceLoss is that of the mean of both. SetBatch of [N, D] -> [B, K];
    `outputs` knows `weights` and `instance_logits`, SetBatches of [N, K]. Raises ValueError for hidden below 1.

    Args:
        average: whether the output is the mean of both streams, else that of the second alone.
    """

    known = ("weights", "instance_logits")
    weighs_each_class = True

    def __init__(self, in_features: int, num_outputs: int, hidden: int = 128, average: bool = True) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"{hidden=}: choose >= 1")
        self.average = average
        self.instance = nn.Linear(in_features, num_outputs)  # W_0
        self.query = nn.Linear(in_features, hidden)  # W_q
        self.bag = nn.Linear(num_outputs * in_features, num_outputs)  # W_b
        self.out_features = num_outputs

    def outputs(self, sets: SetBatch, names: Container[str] = ()) -> dict[str, Any]:
        logits, queries = sets.map(self.instance), sets.map(self.query)
        critical_BK = set_argmax(logits)
        query_BKE = queries.values.index_select(0, critical_BK.flatten()).unflatten(0, critical_BK.shape)
        scores = queries.with_values(set_products(queries, query_BKE) / query_BKE.shape[-1] ** 0.5)
        weights = scores.with_values(set_softmax(scores))
        output_BK = self.bag(set_weighted_sum(weights, sets.values).flatten(1).to(sets.values.dtype))
        if self.average:
            output_BK = (logits.values.gather(0, critical_BK) + output_BK) / 2
        return {"output": output_BK, "weights": weights, "instance_logits": logits}
