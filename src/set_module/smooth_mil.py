"""Attention that is smooth over the neighbours of an instance: evidence lies in regions, not in single patches."""

# B sets, N elements in all, D features, L hidden features, K outputs

from collections.abc import Container
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from set_module.attention_pool import AttentionPool
from set_module.bag_classifier import BagClassifier, split_places
from set_module.reduce import accumulable
from set_module.set_batch import SetBatch
from set_module.set_product import set_weighted_sum
from set_module.softmax import set_softmax
from set_module.trans_mil import grid_cells


class SmoothMIL(BagClassifier):
    """y = W sum_i a_i h_i, a = softmax(Sm(f)), f_i = w^T (tanh(V h_i) * sigmoid(U h_i)), Sm the smoothing below.

    Sm(f) = G(T), G(0) = f, G(t) = alpha (I - L) G(t - 1) + (1 - alpha) f, L the normalised Laplacian of the graph of
    neighbours, I - L = D^-1/2 A D^-1/2; an element without neighbours keeps its value. Castro-Macias et al. 2024, "Sm:
    enhanced localization in Multiple Instance Learning", arXiv:2410.03276, eq. 8 and 12, in the approximate mode, on
    the values of the attention (SmABMIL, late). Neighbours are the other elements in the 3 x 3 cells around a place, in
    steps of `step`. SetBatch of [N, D + 2], the last two features the place (y, x), -> [B, K]; `outputs` knows
    `weights` [N, 1]. Raises ValueError for alpha outside of 0 <= alpha < 1 and a step below 1. Waits for a GPU.
    """

    known = ("weights",)
    takes_corners = True
    untraceable = "the grid of SmoothMIL differs with the places of the elements: choose another classifier"

    def __init__(
        self,
        in_features: int,
        num_outputs: int,
        hidden: int = 128,
        gated: bool = True,
        alpha: float = 0.5,
        smoothings: int = 10,
        step: int = 1,
    ) -> None:
        super().__init__()
        if not 0 <= alpha < 1:
            raise ValueError(f"{alpha=}: choose 0 to below 1")
        if step < 1:
            raise ValueError(f"{step=}: choose >= 1")
        self.alpha, self.smoothings, self.step = alpha, smoothings, step
        self.attention = AttentionPool(in_features, hidden, gated=gated)
        self.bag = nn.Linear(in_features, num_outputs)
        self.out_features = num_outputs

    def outputs(self, sets: SetBatch, names: Container[str] = ()) -> dict[str, Any]:
        features, corners = split_places(sets, self.bag.weight.dtype)
        scores = self.attention.scores(features)
        weights = scores.with_values(set_softmax(scores.with_values(self.smooth(scores.values, corners))))
        pooled_BD = set_weighted_sum(weights, features.values)[:, 0].to(features.values.dtype)
        return {"output": self.bag(pooled_BD), "weights": weights}

    def smooth(self, values_NF: Tensor, corners: SetBatch) -> Tensor:
        """Return Sm of each column."""
        cells_N2 = grid_cells(corners, self.step) + 1  # a border of empty cells
        rows, columns = (cells_N2.amax(0) + 2).tolist()
        cell_N = (corners.index * rows + cells_N2[:, 0]) * columns + cells_N2[:, 1]
        around = [y * columns + x for y, x in product((-1, 0, 1), repeat=2)]

        def of_neighbours(x_NF: Tensor) -> Tensor:
            grid = x_NF.new_zeros(len(corners) * rows * columns, x_NF.shape[1]).index_add(0, cell_N, x_NF)
            total_NF = torch.stack([grid.index_select(0, cell_N + shift) for shift in around]).sum(0)
            return total_NF - x_NF

        values_NF = accumulable(values_NF)
        degree_N1 = of_neighbours(torch.ones_like(values_NF[:, :1]))
        scale_N1 = degree_N1.clamp(min=1).rsqrt()
        smooth_NF = values_NF
        for _ in range(self.smoothings):
            mean_NF = scale_N1 * of_neighbours(scale_N1 * smooth_NF)
            mean_NF = torch.where(degree_N1 > 0, mean_NF, smooth_NF)
            smooth_NF = self.alpha * mean_NF + (1 - self.alpha) * values_NF
        return smooth_NF
