"""Places that a training has chosen, with the gradient of the loss for the choice."""

# B images, N patches in all, P places of a patch, R rows and X columns of them, C H W of an image, p side of a patch

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from set_module.counter_rng import random_int
from set_module.patch_cutout import places
from set_module.set_batch import SetBatch

CHUNK = 2**24  # floats of unfolded images at a time, in the backward pass


class ChosenPlaces(SetBatch):
    """Corners [N, 2] of patches of `images` [B, C, H, W], and `choice` [N, P], whose rows are 1 at that place, else 0.

    The value of the network is that of the corners. Its gradient goes to the choice as well: that of the loss if place
    q was chosen instead, to first order, for each q (straight-through: Bengio et al. 2013, arXiv:1308.3432).
    """

    choice: Tensor
    images: Tensor
    size: int

    @classmethod
    def of(cls, choice_NP: Tensor, sets: SetBatch, images_BCHW: Tensor, size: int) -> "ChosenPlaces":
        """Return the places at which choice_NP is 1; `sets` says which image each belongs to."""
        columns, place_N = places(images_BCHW.shape, size)[1], choice_NP.detach().argmax(1)
        corners_N2 = torch.stack([place_N // columns, place_N % columns], dim=1)
        chosen = cls.__new__(cls)
        chosen.values, chosen.lengths, chosen.index, chosen.max_len = corners_N2, sets.lengths, sets.index, sets.max_len
        chosen.choice, chosen.images, chosen.size = choice_NP, images_BCHW, size
        return chosen

    def connect(self, patches_NCpp: Tensor, normalize: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the normalised patches, connected with the choice: dL / dchoice_nq = <dL / dpatch_n, patch at q>."""
        with torch.no_grad():
            images_BCHW = normalize(self.images)
        connected: Tensor = _Connect.apply(patches_NCpp, self.choice, images_BCHW, self, self.size)
        return connected

    def embedded(self, position: Callable[[Tensor], Tensor]) -> Tensor:
        """Return position(corners), [N, D], connected with the choice."""
        rows, columns = places(self.images.shape, self.size)
        device = self.values.device
        corners_P2 = torch.cartesian_prod(torch.arange(rows, device=device), torch.arange(columns, device=device))
        features_PD = position(corners_P2)
        return self.choice.to(features_PD.dtype) @ features_PD


class _Connect(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, patches_NCpp: Tensor, choice_NP: Tensor, images_BCHW: Tensor, sets: SetBatch, size: int
    ) -> Any:
        ctx.save_for_backward(images_BCHW, sets.lengths, sets.index)
        ctx.max_len, ctx.size, ctx.dtype = sets.max_len, size, choice_NP.dtype
        return patches_NCpp.view_as(patches_NCpp)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_NCpp: Tensor) -> Any:
        images_BCHW, lengths_B, index_N = ctx.saved_tensors
        sets = SetBatch.trusted(gradient_NCpp.flatten(1), lengths_B, index_N, ctx.max_len)
        gradient_BSF = sets.pad()[0]
        unfolded = gradient_BSF.shape[2] * choices(images_BCHW, ctx.size)
        found = []
        for first in range(0, len(images_BCHW), max(1, CHUNK // unfolded)):
            part = slice(first, first + max(1, CHUNK // unfolded))
            patches_BFP = torch.nn.functional.unfold(images_BCHW[part].to(gradient_BSF.dtype), ctx.size)
            found.append(gradient_BSF[part] @ patches_BFP)
        gradient_NP = torch.cat(found).flatten(0, 1).index_select(0, sets.slots())
        return gradient_NCpp, gradient_NP.to(ctx.dtype), None, None, None


def choices(images_BCHW: Tensor, size: int) -> int:
    """Return P, the number of places."""
    rows, columns = places(images_BCHW.shape, size)
    return rows * columns


def straight_through(scores_NP: Tensor, temperature: float) -> Tensor:
    """Return 1 at the largest score of each row and 0 elsewhere, with the gradient of softmax(scores / temperature).

    With Gumbel noise in the scores: Jang et al. 2017, arXiv:1611.01144, section 2.2.
    """
    soft_NP = (scores_NP / temperature).softmax(1)
    hard_NP = torch.zeros_like(soft_NP).scatter_(1, scores_NP.detach().argmax(1, keepdim=True), 1.0)
    return hard_NP + (soft_NP - soft_NP.detach())


def gumbel(seed: int, epoch: int, index: Tensor, draw: Tensor) -> Tensor:
    """Return -log(-log u), u uniform in (0, 1), a function of the arguments alone, of the shape they broadcast to."""
    high = 2**23  # float32 holds the middle of each; with 2**24 the last is rounded to u = 1, whose noise is infinite
    u = (random_int(high, seed, epoch, index, draw).float() + 0.5) / high
    return -(-u.log()).log()
