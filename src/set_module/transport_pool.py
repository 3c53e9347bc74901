"""Pooling by optimal transport: each set is laid onto the same learned references, whatever its size."""

# B sets, N elements in all, n of one set, p references, D features

import math

import torch
from torch import Tensor, nn

from set_module.reduce import accumulable, set_logsumexp
from set_module.set_batch import SetBatch
from set_module.set_product import set_weighted_sum
from set_module.set_sequential import SetModule


class TransportPool(SetModule):
    """z_j = sqrt(p) sum_i P_ij x_i, P the plan from {x_i} to references w_j: max <P, K> + eps H(P), K_ij = x_i . w_j.

    P has the sums 1 / n of each element and 1 / p of each reference: those of the elements hold after convergence,
    those of the references always. OTKE, Mialon et al. 2021, "A Trainable Optimal Transport Embedding for Feature
    Aggregation", arXiv:2006.12065, eq. 4 and 5, with the linear kernel of the authors' code; by iterations of Sinkhorn,
    arXiv:1306.0895, in the logarithm, on packed sets of any sizes. SetBatch of [N, D] -> [B, p * D]. Raises ValueError
    for references or iterations below 1 and for eps <= 0.
    """

    def __init__(self, in_features: int, references: int = 8, eps: float = 0.5, iterations: int = 10) -> None:
        super().__init__()
        if references < 1 or iterations < 1 or eps <= 0:
            raise ValueError(f"{references=}, {iterations=}, {eps=}: choose >= 1, >= 1 and > 0")
        self.eps, self.iterations = eps, iterations
        self.references_pD = nn.Parameter(torch.randn(references, in_features) / in_features**0.5)
        self.out_features = references * in_features

    def forward(self, sets: SetBatch) -> Tensor:
        pooled_BpD = set_weighted_sum(self.plan(sets), sets.values) * len(self.references_pD) ** 0.5
        return pooled_BpD.flatten(1).to(sets.values.dtype)

    def plan(self, sets: SetBatch) -> SetBatch:
        """Return P: SetBatch of [N, p], whose values sum to 1 over a set."""
        scores_Np = accumulable(sets.values @ self.references_pD.T) / self.eps
        log_n_N1 = sets.lengths.to(scores_Np.dtype).log().index_select(0, sets.index)[:, None]
        v_Np = torch.zeros_like(scores_Np)
        for _ in range(self.iterations):
            u_N1 = -log_n_N1 - (scores_Np + v_Np).logsumexp(1, keepdim=True)
            sum_Bp = set_logsumexp(sets.with_values(scores_Np + u_N1))
            v_Np = (-math.log(len(self.references_pD)) - sum_Bp).index_select(0, sets.index)
        return sets.with_values((scores_Np + u_N1 + v_Np).exp())

    def weights(self, sets: SetBatch) -> SetBatch:
        """Return the share of each element in a reference, SetBatch of [N, p], which sums to 1 over a set."""
        return self.plan(sets).map(lambda plan_Np: plan_Np * len(self.references_pD))
