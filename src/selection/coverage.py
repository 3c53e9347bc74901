"""The pixels of an image that its patches cover."""

# B images, N patches in all, P places of a patch, R rows and X columns of them, H W of an image

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from selection.chosen_places import ChosenPlaces
from set_module.set_batch import SetBatch


def coverage(corners: SetBatch, size: int, image_size: Sequence[int]) -> Tensor:
    """Return 1 where a patch of an image covers a pixel and 0 elsewhere, float32 [B, 1, H, W].

    m = 1 - prod_n (1 - m_n), m_n the mask of patch n, with this gradient for the choice of ChosenPlaces, dm_n being
    linear in it.
    """
    if isinstance(corners, ChosenPlaces):
        mask: Tensor = _Coverage.apply(corners.choice, corners, size, list(image_size))
        return mask
    return (_counts(corners, size, image_size) > 0).float()


class _Coverage(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, choice_NP: Tensor, corners: SetBatch, size: int, image_size: list[int]) -> Tensor:  # type: ignore[override]
        counts_B1HW = _counts(corners, size, image_size)
        ctx.save_for_backward(counts_B1HW, corners.values, corners.index)
        ctx.size, ctx.dtype = size, choice_NP.dtype
        return (counts_B1HW > 0).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_B1HW: Tensor) -> Any:
        counts_B1HW, corners_N2, index_N = ctx.saved_tensors
        # a pixel that no patch covers counts for every choice, one that this patch alone covers counts for its own
        none_BHW, one_BHW = ((gradient_B1HW.float() * (counts_B1HW == number))[:, 0] for number in (0, 1))
        covered = [lines(side, ctx.size, none_BHW.device) for side in none_BHW.shape[1:]]
        covers_NHW = covered[0][corners_N2[:, 0]][:, :, None] * covered[1][corners_N2[:, 1]][:, None]
        own_NRX = covered[0] @ (one_BHW.index_select(0, index_N) * covers_NHW) @ covered[1].T
        all_BRX = covered[0] @ none_BHW @ covered[1].T
        return (own_NRX + all_BRX.index_select(0, index_N)).flatten(1).to(ctx.dtype), None, None, None


def _counts(corners: SetBatch, size: int, image_size: Sequence[int]) -> Tensor:
    """Return how many patches cover each pixel, float32 [B, 1, H, W]."""
    (y_N, x_N), device = corners.values.unbind(1), corners.values.device
    rows, columns = (lines(side, size, device) for side in image_size)
    place_N = (corners.index * len(rows) + y_N) * len(columns) + x_N
    places = torch.zeros(len(corners) * len(rows) * len(columns), device=device)
    placed_BRX = places.index_add_(0, place_N, torch.ones_like(place_N, dtype=torch.float32))
    placed_BRX = placed_BRX.view(-1, len(rows), len(columns))
    with torch.autocast(device.type, enabled=False):
        return (rows.T @ placed_BRX @ columns)[:, None]


def lines(side: int, size: int, device: torch.device) -> Tensor:
    """Return 1 where a patch at place r covers pixel h of a side, [R, H]."""
    pixel_H, place_R = torch.arange(side, device=device), torch.arange(side - size + 1, device=device)[:, None]
    return ((place_R <= pixel_H) & (pixel_H < place_R + size)).float()
