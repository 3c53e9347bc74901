"""Embeddings of the position of a patch, which a network adds to the embedding of its pixels."""

# N elements in all, D features, K frequencies

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SinusoidalPosition(nn.Module):
    """[sin(w_k u), cos(w_k u)] of the normalised row and column, u = y / (rows - 1) and x / (columns - 1) in [0, 1].

    K = D / 4 frequencies in geometric steps, from half a period over the image to a quarter from place to place.
    Vaswani et al. 2017, arXiv:1706.03762, section 3.5, for two axes. Corners (y, x) [N, 2] -> [N, D]. Raises
    ValueError if 4 does not divide D.
    """

    def __init__(self, features: int, places: Sequence[int]) -> None:
        super().__init__()
        if features % 4:
            raise ValueError(f"{features} features: sin and cos of two axes need a multiple of 4")
        self.out_features = features
        self.places = tuple(places)

    def forward(self, corners_N2: Tensor) -> Tensor:
        steps_K = torch.linspace(0, 1, self.out_features // 4, device=corners_N2.device)  # fp32 in any precision
        embedded = []
        for u_N, places in zip(corners_N2.unbind(1), self.places, strict=True):
            last = max(places - 1, 1)  # with a single place, u = 0
            angles_NK = u_N[:, None] * (math.pi * max(last / 2, 1) ** steps_K / last)
            embedded += [angles_NK.sin(), angles_NK.cos()]
        return torch.cat(embedded, dim=1)


class LearnedPosition(nn.Module):
    """row[y] + column[x], two learned tables. Corners (y, x) [N, 2] -> [N, D].

    Dosovitskiy et al. 2021, arXiv:2010.11929, appendix D.4 ("2-dimensional positional embedding", here as a sum).
    """

    def __init__(self, features: int, places: Sequence[int]) -> None:
        super().__init__()
        self.out_features = features
        self.row, self.column = (nn.Embedding(number, features) for number in places)
        for table in (self.row, self.column):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, corners_N2: Tensor) -> Tensor:
        y_N, x_N = corners_N2.unbind(1)
        return self.row(y_N) + self.column(x_N)
