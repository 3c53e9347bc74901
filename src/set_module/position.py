"""Embeddings of the position of a patch, which a network adds to the embedding of its pixels."""

# N elements in all, D features, K frequencies

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

ANY_SIZE = 256  # places of a side that are told apart where images have any size
FARTHEST = 1024  # patches in a quarter of the longest period


class SinusoidalPosition(nn.Module):
    """[sin(w_k u), cos(w_k u)] of the normalised row and column, u = y / (rows - 1) and x / (columns - 1) in [0, 1].

    K = D / 4 frequencies in geometric steps, from half a period over the image to a quarter from place to place.
    Vaswani et al. 2017, arXiv:1706.03762, section 3.5, for two axes. Corners (y, x) [N, 2] -> [N, D]. Without places,
    for images of any size, it is `relative`: it takes u itself, float [N, 2], and tells ANY_SIZE places of a side
    apart. Raises ValueError if 4 does not divide D.
    """

    def __init__(self, features: int, places: Sequence[int] = ()) -> None:
        super().__init__()
        if features % 4:
            raise ValueError(f"{features} features: sin and cos of two axes need a multiple of 4")
        self.out_features = features
        self.relative = not places
        self.places = tuple(places) or (2, 2)

    def forward(self, corners_N2: Tensor) -> Tensor:
        steps_K = torch.linspace(0, 1, self.out_features // 4, device=corners_N2.device)  # fp32 in any precision
        embedded = []
        for u_N, places in zip(corners_N2.unbind(1), self.places, strict=True):
            last = max(places - 1, 1)  # with a single place, u = 0
            finest = (ANY_SIZE - 1) / 2 if self.relative else max(last / 2, 1)
            angles_NK = u_N[:, None] * (math.pi * finest**steps_K / last)
            embedded += [angles_NK.sin(), angles_NK.cos()]
        return torch.cat(embedded, dim=1)


class PatchUnitPosition(nn.Module):
    """[sin(w_k u), cos(w_k u)] of u = y / p and x / p, the position in units of the patch of side p = `patch_size`.

    It means the same in images of different sizes. K = D / 4 frequencies in geometric steps, from a quarter of a period
    in FARTHEST patches to a quarter in one. Corners (y, x) [N, 2] -> [N, D]. `places` are not used. Raises ValueError
    if 4 does not divide D.
    """

    def __init__(self, features: int, patch_size: int, places: Sequence[int] = ()) -> None:
        super().__init__()
        if features % 4:
            raise ValueError(f"{features} features: sin and cos of two axes need a multiple of 4")
        self.out_features, self.patch_size = features, patch_size

    def forward(self, corners_N2: Tensor) -> Tensor:
        steps_K = torch.linspace(0, 1, self.out_features // 4, device=corners_N2.device)
        w_K = math.pi / 2 / self.patch_size * FARTHEST ** (steps_K - 1)
        angles_N2K = corners_N2[:, :, None] * w_K
        return torch.cat([angles_N2K.sin(), angles_N2K.cos()], dim=2).flatten(1)


class LearnedPosition(nn.Module):
    """row[y] + column[x], two learned tables. Corners (y, x) [N, 2] -> [N, D].

    Dosovitskiy et al. 2021, arXiv:2010.11929, appendix D.4 ("2-dimensional positional embedding", here as a sum).
    Raises ValueError without places: images of any size have no tables.
    """

    def __init__(self, features: int, places: Sequence[int]) -> None:
        super().__init__()
        if not places:
            raise ValueError("a learned position needs images of one size: choose model/position=sinusoidal")
        self.out_features = features
        self.row, self.column = (nn.Embedding(number, features) for number in places)
        for table in (self.row, self.column):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, corners_N2: Tensor) -> Tensor:
        y_N, x_N = corners_N2.unbind(1)
        return self.row(y_N) + self.column(x_N)
