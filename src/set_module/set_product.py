"""Matrix products within each set: sums that attention weighs, products of elements with vectors of their set.

Sets of one size take one batched product, large sets on a CPU one product each. All others, and traced graphs, take a
sum over the elements, which computes a value for each element, feature and weight: the start of a product takes longer
than the arithmetic of a small set, and on a GPU the sizes would have to be waited for.
"""

# B sets, N elements in all, H weights of an element (heads), D features

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from set_module.reduce import accumulable, add_up
from set_module.set_batch import SetBatch

LARGE = 8192  # values of an average set, elements * features * weights, from which a product for each is faster


def set_weighted_sum(weights: SetBatch, values_ND: Tensor) -> Tensor:
    """Return z_bh = sum_i a_ih x_i over the elements i of set b: weights [N, H], values [N, D] -> [B, H, D].

    Half precision is accumulated in fp32; the result has the wider of the two types, in fp32 at least.
    """
    weights_NH, values_ND = _same_type(weights.values, values_ND)
    if torch.compiler.is_compiling():
        return _gather(weights_NH, values_ND, weights, None)
    return _Gather.apply(weights_NH, values_ND, weights, _sizes(weights, values_ND.shape[1] * weights_NH.shape[1]))


def set_products(sets: SetBatch, vectors_BHD: Tensor) -> Tensor:
    """Return s_ih = x_i . v_bh of each element with the H vectors of its set b: [N, D], [B, H, D] -> [N, H].

    Half precision is accumulated in fp32; the result has the wider of the two types, in fp32 at least.
    """
    values_ND, vectors_BHD = _same_type(sets.values, vectors_BHD)
    vectors_BDH = vectors_BHD.transpose(1, 2)
    if torch.compiler.is_compiling():
        return _scatter(values_ND, vectors_BDH, sets, None)
    return _Scatter.apply(values_ND, vectors_BDH, sets, _sizes(sets, vectors_BHD[0].numel()))


def _same_type(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    one, other = accumulable(one), accumulable(other)
    dtype = torch.promote_types(one.dtype, other.dtype)
    return one.to(dtype), other.to(dtype)


def _sizes(sets: SetBatch, values: int) -> list[int] | None:
    """Return the sizes if there is a product for each set; [] if there is one for all, None if there is a sum."""
    if sets.is_regular():
        return []
    small = sets.index.shape[0] * values < LARGE * len(sets)
    return None if small or sets.index.device.type != "cpu" else sets.lengths.tolist()


class _Gather(torch.autograd.Function):
    """L_b^T R_b of each set: [N, P], [N, Q] -> [B, P, Q]. Its gradients are those of _Scatter, and the reverse."""

    @staticmethod
    def forward(ctx: Any, left_NP: Tensor, right_NQ: Tensor, sets: SetBatch, sizes: list[int] | None) -> Tensor:
        ctx.save_for_backward(left_NP, right_NQ)
        ctx.sets, ctx.sizes = (sets, sizes)
        return _in_full_precision(_gather, left_NP, right_NQ, sets, sizes)

    @staticmethod
    def backward(ctx: Any, grad_BPQ: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        left_NP, right_NQ = ctx.saved_tensors
        left, right, *_ = ctx.needs_input_grad
        grad_NP = _Scatter.apply(right_NQ, grad_BPQ.transpose(1, 2), ctx.sets, ctx.sizes) if left else None
        grad_NQ = _Scatter.apply(left_NP, grad_BPQ, ctx.sets, ctx.sizes) if right else None
        return grad_NP, grad_NQ, None, None


class _Scatter(torch.autograd.Function):
    """L_b M_b of each set: [N, P], [B, P, Q] -> [N, Q]."""

    @staticmethod
    def forward(ctx: Any, left_NP: Tensor, matrix_BPQ: Tensor, sets: SetBatch, sizes: list[int] | None) -> Tensor:
        ctx.save_for_backward(left_NP, matrix_BPQ)
        ctx.sets, ctx.sizes = (sets, sizes)
        return _in_full_precision(_scatter, left_NP, matrix_BPQ, sets, sizes)

    @staticmethod
    def backward(ctx: Any, grad_NQ: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        left_NP, matrix_BPQ = ctx.saved_tensors
        left, matrix, *_ = ctx.needs_input_grad
        grad_NP = _Scatter.apply(grad_NQ, matrix_BPQ.transpose(1, 2), ctx.sets, ctx.sizes) if left else None
        grad_BPQ = _Gather.apply(left_NP, grad_NQ, ctx.sets, ctx.sizes) if matrix else None
        return grad_NP, grad_BPQ, None, None


def _in_full_precision(function: Callable[..., Tensor], left_NP: Tensor, *others: Any) -> Tensor:
    """Call a function whose matrix products autocast leaves as they are."""
    if not torch.is_autocast_enabled(left_NP.device.type):  # the context costs as much as a small product
        return function(left_NP, *others)
    with torch.autocast(left_NP.device.type, enabled=False):
        return function(left_NP, *others)


def _gather(left_NP: Tensor, right_NQ: Tensor, sets: SetBatch, sizes: list[int] | None) -> Tensor:
    """Return L_b^T R_b for each set, [B, P, Q]."""
    batch = len(sets)
    if sizes is None:
        columns_N1 = left_NP.split(1, dim=1)  # one by one: all at once, [N, P, Q], takes 4 times as long
        sums = [add_up(column_N1 * right_NQ, sets.index, batch, sets.max_len) for column_N1 in columns_N1]
        return torch.stack(sums, dim=1)
    if not sizes:
        left_BSP, right_BSQ = (each.unflatten(0, (batch, sets.max_len)) for each in (left_NP, right_NQ))
        return left_BSP.transpose(1, 2) @ right_BSQ
    out_BPQ = left_NP.new_empty(batch, left_NP.shape[1], right_NQ.shape[1])
    for out_PQ, left_nP, right_nQ in zip(out_BPQ, left_NP.split(sizes), right_NQ.split(sizes), strict=True):
        torch.mm(left_nP.t(), right_nQ, out=out_PQ)
    return out_BPQ


def _scatter(left_NP: Tensor, matrix_BPQ: Tensor, sets: SetBatch, sizes: list[int] | None) -> Tensor:
    """Return L_b M_b for each set, [N, Q]."""
    if sizes is None:
        if matrix_BPQ.shape[1] <= matrix_BPQ.shape[2]:
            summands = [
                column_N1 * matrix_BPQ[:, p].index_select(0, sets.index)
                for p, column_N1 in enumerate(left_NP.split(1, dim=1))
            ]
            return sum(summands[1:], summands[0])
        columns = matrix_BPQ.unbind(2)
        return torch.stack([(left_NP * column_BP.index_select(0, sets.index)).sum(1) for column_BP in columns], dim=1)
    if not sizes:
        return (left_NP.unflatten(0, (len(sets), sets.max_len)) @ matrix_BPQ).flatten(0, 1)
    out_NQ = left_NP.new_empty(left_NP.shape[0], matrix_BPQ.shape[2])
    for out_nQ, left_nP, matrix_PQ in zip(out_NQ.split(sizes), left_NP.split(sizes), matrix_BPQ, strict=True):
        torch.mm(left_nP, matrix_PQ, out=out_nQ)
    return out_NQ
