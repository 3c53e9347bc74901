"""TransMIL: a class token reads a set by self-attention, with convolutions over the places of the elements between."""

# B sets, N elements in all, n of one set, D features, H heads, E = D / H, K outputs, R x C places of a grid

from collections.abc import Container
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from set_module.attention import MultiheadAttention
from set_module.bag_classifier import BagClassifier, split_places
from set_module.nystrom import nystrom_attention
from set_module.set_batch import SetBatch
from set_module.softmax import set_softmax

PPEG_CHOICES = ("none", "order", "places")


class TransMIL(BagClassifier):
    """y = W LN(t_2), T_2 = T_1 + Attention(LN T_1), T_1 = PPEG(T_0 + Attention(LN T_0)), T_0 = [token, {h_i}].

    Shao et al. 2021, "TransMIL: Transformer based Correlated Multiple Instance Learning", arXiv:2106.00908, algorithm
    2. Attention is exact, or through landmarks: nystrom_attention; unlike in the authors' code, it has neither dropout
    nor a convolution of the values. Of the last block only the row t_2 of the token is
    computed. SetBatch of [N, D] -> [B, K]; `outputs` knows `weights` [N, H], the (exact) attention of the token in the
    last block, which sums with that to itself to 1. torch.export traces exact attention without PPEG only. Raises
    ValueError for heads that do not divide the width, another ppeg, and a step or landmarks below 1.

    Args:
        width: D of a linear layer and ReLU that come first, as in the authors' code; None: neither.
        ppeg: where the convolutions see the elements. order: in a square, row by row in the order of the set, whose
            first elements fill it up, as in the authors' code; places: at their places (y, x), the last two features,
            in steps of `step`, so that bags of any outline keep their neighbours; none: nowhere, and the order of the
            elements means nothing.
        landmarks: their number, for sets of many thousands of elements; None: exact attention.
    """

    known = ("weights",)

    def __init__(
        self,
        in_features: int,
        num_outputs: int,
        width: int | None = 512,
        heads: int = 8,
        ppeg: str = "none",
        step: int = 1,
        landmarks: int | None = None,
    ) -> None:
        super().__init__()
        if ppeg not in PPEG_CHOICES:
            raise ValueError(f"no such {ppeg=}: choose from {', '.join(PPEG_CHOICES)}")
        if step < 1 or (landmarks is not None and landmarks < 1):
            raise ValueError(f"{step=}, {landmarks=}: choose >= 1, or landmarks=null for exact attention")
        self.takes_corners, self.step, self.landmarks = ppeg == "places", step, landmarks
        features = in_features if width is None else width
        self.embed = nn.Identity() if width is None else nn.Sequential(nn.Linear(in_features, width), nn.ReLU())
        self.token_D = nn.Parameter(torch.randn(features))
        self.norms = nn.ModuleList(nn.LayerNorm(features) for _ in range(3))
        self.attentions = nn.ModuleList(MultiheadAttention(features, heads) for _ in range(2))
        self.in_order = ppeg == "order"
        self.ppeg = None if ppeg == "none" else PPEG(features)
        self.out = nn.Linear(features, num_outputs)
        self.out_features = num_outputs
        if self.ppeg is not None or landmarks is not None:
            self.untraceable = (
                "the convolutions and the landmarks of TransMIL differ with the sizes of the sets: train it with "
                "model.network.classifier.ppeg=none model.network.classifier.landmarks=null"
            )

    def outputs(self, sets: SetBatch, names: Container[str] = ()) -> dict[str, Any]:
        cells_N2 = None
        if self.takes_corners:
            sets, corners = split_places(sets, self.out.weight.dtype)
            cells_N2 = grid_cells(corners, self.step)
        elements = sets.map(self.embed)
        if self.in_order:
            elements, cells_N2 = squared(elements)
        tokens = with_token(elements, self.token_D)
        attended = self._attend(0, tokens.map(self.norms[0]))
        tokens = tokens.with_values(tokens.values + attended)
        if self.ppeg is not None and cells_N2 is not None:
            tokens = self.ppeg(tokens, cells_N2)
        first_B = tokens.lengths.cumsum(0) - tokens.lengths
        normed = tokens.map(self.norms[1])
        token_BD = tokens.values.index_select(0, first_B) + self._attend_token(1, normed, first_B)
        found: dict[str, Any] = {"output": self.out(self.norms[2](token_BD))}
        if "weights" in names:
            found["weights"] = sets.with_values(self._weights(1, normed, first_B, sets))
        return found

    def _attend(self, number: int, tokens: SetBatch) -> Tensor:
        """Return the attention of all elements to each other, [N, D]."""
        attention: Any = self.attentions[number]
        if self.landmarks is None:
            return attention(tokens, tokens).values
        attended = [nystrom_attention(*qkv, self.landmarks) for qkv in _heads(attention, tokens)]
        return attention.out(torch.cat([each_HnE.transpose(0, 1).flatten(1) for each_HnE in attended]))

    def _attend_token(self, number: int, tokens: SetBatch, first_B: Tensor) -> Tensor:
        """Return the attention of the tokens to all elements, [B, D]."""
        attention: Any = self.attentions[number]
        if self.landmarks is None:
            return attention(tokens.values.index_select(0, first_B)[:, None], tokens)[:, 0]
        attended = [nystrom_attention(*qkv, self.landmarks, queries=1) for qkv in _heads(attention, tokens)]
        return attention.out(torch.stack([each_H1E.flatten() for each_H1E in attended]))

    def _weights(self, number: int, tokens: SetBatch, first_B: Tensor, sets: SetBatch) -> Tensor:
        """Return the attention of the tokens to the elements of `sets`, which stand first behind them, [N, H]."""
        attention: Any = self.attentions[number]
        q_ND, k_ND, _ = attention.project(tokens.values).chunk(3, dim=1)
        q_ND = q_ND.index_select(0, first_B).index_select(0, tokens.index)
        scores_NH = (q_ND * k_ND).unflatten(1, (attention.heads, -1)).sum(2)
        scale = (k_ND.shape[1] // attention.heads) ** 0.5
        weights = set_softmax(tokens.with_values(scores_NH / scale))
        return weights.index_select(0, first_B.index_select(0, sets.index) + 1 + sets.numbers())


class PPEG(nn.Module):
    """Pyramid position encoding: x_i + sum_s (K_s * G)(c_i), K_s depthwise kernels of 7, 5 and 3, G the grid of x.

    arXiv:2106.00908, algorithm 3. The class token stays as it is, and empty cells are 0, as beyond the border. Elements
    in one cell add up there. The three kernels act as one of 7. Tokens [N + B, D] and cells (row, column) of the N
    elements -> tokens.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.kernels = nn.ModuleList(
            nn.Conv2d(features, features, size, padding=size // 2, groups=features) for size in (7, 5, 3)
        )

    def forward(self, tokens: SetBatch, cells_N2: Tensor) -> SetBatch:
        rows, columns = (cells_N2.amax(0) + 1).tolist()  # waits for a GPU
        element_N = (tokens.numbers() > 0).nonzero()[:, 0]
        set_N = tokens.index.index_select(0, element_N)
        cell_N = (set_N * rows + cells_N2[:, 0]) * columns + cells_N2[:, 1]
        x_ND = tokens.values.index_select(0, element_N)
        grid = x_ND.new_zeros(len(tokens) * rows * columns, x_ND.shape[1]).index_add(0, cell_N, x_ND)
        grid_BDRC = grid.unflatten(0, (len(tokens), rows, columns)).permute(0, 3, 1, 2)
        encoded_BDRC = F.conv2d(grid_BDRC, *self._kernel(), padding=3, groups=x_ND.shape[1])
        encoded_ND = encoded_BDRC.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, cell_N)
        return tokens.with_values(tokens.values.index_add(0, element_N, encoded_ND.to(tokens.values.dtype)))

    def _kernel(self) -> tuple[Tensor, Tensor]:
        """Return the weight [D, 1, 7, 7] and the bias [D] of the sum of the three convolutions."""
        layers: list[Any] = list(self.kernels)
        weights = [F.pad(layer.weight, [(7 - layer.kernel_size[0]) // 2] * 4) for layer in layers]
        return torch.stack(weights).sum(0), torch.stack([layer.bias for layer in layers]).sum(0)


def grid_cells(corners: SetBatch, step: int) -> Tensor:
    """Return the cell (row, column) of each element, from the smallest place of its set on, int64 [N, 2]."""
    index_N2 = corners.index[:, None].expand(-1, 2)
    first_B2 = corners.values.new_zeros(len(corners), 2)
    first_B2 = first_B2.scatter_reduce(0, index_N2, corners.values, "amin", include_self=False)
    return (corners.values - first_B2.index_select(0, corners.index)).div(step, rounding_mode="floor")


def squared(sets: SetBatch) -> tuple[SetBatch, Tensor]:
    """Fill each set up to a square number with its first elements; return the cells too. Waits for a GPU."""
    sides = [int((length - 1) ** 0.5) + 1 for length in sets.lengths.tolist()]
    full = SetBatch(sets.index.new_zeros(sum(side**2 for side in sides)), [side**2 for side in sides])
    number_M, side_B = full.numbers(), torch.tensor(sides, device=sets.index.device)
    first_B = sets.lengths.cumsum(0) - sets.lengths
    length_M, first_M, side_M = (each_B.index_select(0, full.index) for each_B in (sets.lengths, first_B, side_B))
    values = sets.values.index_select(0, first_M + number_M % length_M)
    return full.with_values(values), torch.stack([number_M // side_M, number_M % side_M], dim=1)


def with_token(sets: SetBatch, token_D: Tensor) -> SetBatch:
    """Put one more element, the same for all sets, before the first of each set."""
    batch, dtype = len(sets), sets.values.dtype
    set_B = torch.arange(batch, device=sets.index.device)
    first_B = sets.lengths.cumsum(0) - sets.lengths + set_B
    slot_N = torch.arange(sets.index.shape[0], device=sets.index.device) + sets.index + 1
    slots = torch.cat([first_B, slot_N])
    joined = torch.cat([token_D.to(dtype).expand(batch, -1), sets.values])
    values = torch.zeros_like(joined).index_copy(0, slots, joined)
    index = torch.zeros_like(slots).index_copy(0, slots, torch.cat([set_B, sets.index]))
    return SetBatch.trusted(values, sets.lengths + 1, index, sets.max_len + 1)


def _heads(attention: Any, sets: SetBatch) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return Q, K and V of each set, [H, n, E]. Waits for a GPU."""
    projected = attention.project(sets.values).unflatten(1, (3, attention.heads, -1))
    of_sets = (each.permute(1, 2, 0, 3) for each in projected.split(sets.lengths.tolist()))
    return [(q_HnE, k_HnE, v_HnE) for q_HnE, k_HnE, v_HnE in of_sets]
