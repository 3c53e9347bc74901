"""Softmax over the elements of each set, for attention pools and the reduction `softmax`."""

# B sets, N elements in all, H scores of an element, D features

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from set_module.reduce import accumulable, add_up, set_max, set_sum
from set_module.set_batch import SetBatch


def set_softmax(scores: SetBatch) -> Tensor:
    """a_i = exp(s_i) / sum_j exp(s_j), j over the set of i, each of the H columns by itself.

    SetBatch of [N, H] -> [N, H], of the scores' dtype, computed in fp32 for half precision. It has a backward of its
    own: autograd's took 1.4 and 2 times as long (CPU, one thread, 8,323 elements of 64 and 256 columns in 256 sets).
    Sets of one size take torch's.
    """
    scores_NH = accumulable(scores.values)
    if scores.is_regular():
        return scores_NH.unflatten(0, (len(scores), -1)).softmax(1).flatten(0, 1).to(scores.values.dtype)
    return _set_softmax(scores.with_values(scores_NH)).to(scores.values.dtype)


def _set_softmax(scores: SetBatch) -> Tensor:
    """Return the softmax of each set, whose bits do not depend on the other sets."""
    max_BH = set_max(scores.with_values(scores.values.detach()))
    found_NH: Tensor = _Softmax.apply(scores.values, scores.index, max_BH, scores.max_len)
    return found_NH


def set_softmax_sum(sets: SetBatch) -> Tensor:
    """sum_i a_i x_i, a = softmax_i x, each feature by itself: between the mean and the max.

    Li et al. 2020, "DeeperGCN", arXiv:2006.07739, at temperature 1. SetBatch of [N, D] -> [B, D].
    """
    wide = sets.map(accumulable)
    return set_sum(wide.map(lambda values_ND: values_ND * _set_softmax(wide))).to(sets.values.dtype)


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores_NH: Tensor, index_N: Tensor, max_BH: Tensor, max_len: int) -> Tensor:
        exp_NH = max_BH.neg().index_select(0, index_N).add_(scores_NH).exp_()  # at most 1: cannot overflow
        sum_BH = add_up(exp_NH, index_N, len(max_BH), max_len)
        weights_NH = exp_NH.mul_(sum_BH.reciprocal_().index_select(0, index_N))
        ctx.save_for_backward(weights_NH, index_N)
        ctx.sizes = len(max_BH), max_len
        return weights_NH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NH: Tensor) -> tuple[Tensor, None, None, None]:
        weights_NH, index_N = ctx.saved_tensors
        product_NH = weights_NH * grad_NH
        sum_BH = add_up(product_NH, index_N, *ctx.sizes)
        return product_NH.sub_(sum_BH.index_select(0, index_N).mul_(weights_NH)), None, None, None
