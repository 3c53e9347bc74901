"""The plain reductions of a set: sum, mean, max, min, std, log-sum-exp of its elements, [N, D] -> [B, D].

Half precision is accumulated in fp32 and returned in half precision; integers are refused. Max and std have a backward
of their own: autograd's took 3.4 and 2.1 times as long (CPU, one thread, 8,323 elements of 512 features in 256 sets).
They work in place, as allocating a new [N, D] takes longer than the arithmetic on it. Sets of more than LONG elements
are summed in chunks, and the sums of the chunks likewise: one running sum of a million elements in fp32 is wrong by
1 %.
"""

# B sets, N elements in all, D features

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from set_module.set_batch import SetBatch

LONG = 512  # elements that one running sum in fp32 adds to a relative error below 1e-5
CHUNK = 64


def set_sum(sets: SetBatch) -> Tensor:
    """sum_i x_i."""
    return _sum(accumulable(sets.values), sets).to(sets.values.dtype)


def set_mean(sets: SetBatch) -> Tensor:
    """1/n sum_i x_i."""
    sum_BD = _sum(accumulable(sets.values), sets)
    return (sum_BD / _lengths(sets, sum_BD.dtype)).to(sets.values.dtype)


def set_max(sets: SetBatch) -> Tensor:
    """max_i x_i; elements that tie share the gradient equally, as in torch.amax."""
    _refuse_integers(sets.values)
    return _Max.apply(sets.values, sets.index, len(sets))


def set_min(sets: SetBatch) -> Tensor:
    """min_i x_i; elements that tie share the gradient equally, as in torch.amin."""
    return -set_max(sets.with_values(-sets.values))


def set_argmax(sets: SetBatch) -> Tensor:
    """Return the positions of the largest x_id among all N elements, the first of those that tie, int64 [B, D].

    Of a set in which there is none, because of NaN, its first element.
    """
    position_N1 = torch.arange(sets.index.shape[0], device=sets.index.device)[:, None]
    max_ND = set_max(sets.map(Tensor.detach)).index_select(0, sets.index)
    found_ND = torch.where(sets.values == max_ND, position_N1, position_N1.shape[0])
    found_BD = found_ND.new_full((len(sets), found_ND.shape[1]), position_N1.shape[0])
    found_BD = found_BD.scatter_reduce(0, sets.index[:, None].expand_as(found_ND), found_ND, "amin")
    first_B1 = (sets.lengths.cumsum(0) - sets.lengths)[:, None]
    return torch.where(found_BD == position_N1.shape[0], first_B1, found_BD)


def set_std(sets: SetBatch) -> Tensor:
    """sqrt(1/n sum_i (x_i - mean)^2); where it is 0, as in a set of one or of equal elements, its gradient is 0."""
    return _Std.apply(accumulable(sets.values), sets.index, sets.lengths, sets.max_len).to(sets.values.dtype)


def set_logsumexp(sets: SetBatch) -> Tensor:
    """log sum_i exp x_i without overflow; infinities are treated as in torch.logsumexp."""
    values_ND = accumulable(sets.values)
    max_BD = set_max(sets.with_values(values_ND.detach()))
    shift_BD = max_BD.masked_fill(max_BD.isinf(), 0)  # inf - inf would be NaN
    exp_ND = (values_ND - shift_BD.index_select(0, sets.index)).exp()
    return (_sum(exp_ND, sets).log() + shift_BD).to(sets.values.dtype)


def accumulable(values_ND: Tensor) -> Tensor:
    """Convert half precision to fp32. Raises TypeError for integers."""
    _refuse_integers(values_ND)
    return values_ND.float() if values_ND.dtype in (torch.bfloat16, torch.float16) else values_ND


def _refuse_integers(values_ND: Tensor) -> None:
    if not (values_ND.is_floating_point() or values_ND.is_complex()):  # a sum would overflow, a mean be rounded
        raise TypeError(f"the elements are {values_ND.dtype}: convert them first, sets.map(torch.Tensor.float)")


def add_up(values_ND: Tensor, index_N: Tensor, num_sets: int, max_len: int) -> Tensor:
    """Return the sum of each set, [B, D].

    Sets of more than LONG elements take N / CHUNK * D values and 24 N bytes more memory. An exported program serves
    sets of all sizes, and so has one running sum.
    """
    if torch.compiler.is_exporting() or max_len <= LONG:
        return values_ND.new_zeros(num_sets, values_ND.shape[1]).index_add(0, index_N, values_ND)
    # as neither n // CHUNK nor the set ever falls with n, their sum tells the chunks apart, of which some are empty
    num_elements = index_N.shape[0]
    chunk_N = torch.arange(num_elements, device=index_N.device).div_(CHUNK, rounding_mode="floor").add_(index_N)
    num_chunks = num_elements // CHUNK + num_sets
    sum_CD = values_ND.new_zeros(num_chunks, values_ND.shape[1]).index_add(0, chunk_N, values_ND)
    set_of_chunk_C = index_N.new_zeros(num_chunks).scatter(0, chunk_N, index_N).cummax(0).values
    return add_up(sum_CD, set_of_chunk_C, num_sets, max_len // CHUNK + 2)


def _lengths(sets: SetBatch, dtype: torch.dtype) -> Tensor:
    """Return lengths [B, 1] in the dtype of the dividend: a division of floats by integers is slower."""
    return sets.lengths.to(dtype)[:, None]


def _sum(values_ND: Tensor, sets: SetBatch) -> Tensor:
    return add_up(values_ND, sets.index, len(sets), sets.max_len)


class _Max(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values_ND: Tensor, index_N: Tensor, num_sets: int) -> Tensor:
        # filled with -inf: a zero would take its share of the gradient where the max is 0
        max_BD = values_ND.new_full((num_sets, values_ND.shape[1]), -torch.inf)
        max_BD = max_BD.scatter_reduce(0, index_N[:, None].expand_as(values_ND), values_ND, "amax")
        ctx.save_for_backward(values_ND, index_N, max_BD)
        return max_BD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BD: Tensor) -> tuple[Tensor, None, None]:
        values_ND, index_N, max_BD = ctx.saved_tensors
        grad_ND = max_BD.index_select(0, index_N).eq_(values_ND)  # 1 for the largest, else 0
        ties_BD = torch.zeros_like(grad_BD, dtype=torch.float).index_add_(0, index_N, grad_ND.float())
        return grad_ND.mul_((grad_BD / ties_BD).to(grad_ND.dtype).index_select(0, index_N)), None, None


class _Std(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values_ND: Tensor, index_N: Tensor, lengths_B: Tensor, max_len: int) -> Tensor:
        def mean(x_ND: Tensor) -> Tensor:
            return add_up(x_ND, index_N, len(lengths_B), max_len) / lengths_B1

        lengths_B1 = lengths_B.to(values_ND.dtype)[:, None]
        first_BD = values_ND.index_select(0, lengths_B.cumsum(0) - lengths_B)
        # differences of equal and of nearly equal elements are exact; their mean is not rounded as that of large values
        centred_ND = first_BD.neg_().index_select(0, index_N).add_(values_ND)
        centred_ND.sub_(mean(centred_ND).index_select(0, index_N))  # E[x^2] - E[x]^2 would cancel
        std_BD = mean(centred_ND.square()).sqrt_()
        ctx.save_for_backward(centred_ND, index_N, lengths_B1, std_BD)
        return std_BD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BD: Tensor) -> tuple[Tensor, None, None, None]:
        centred_ND, index_N, lengths_B1, std_BD = ctx.saved_tensors
        scale_BD = torch.where(std_BD > 0, grad_BD / (lengths_B1 * std_BD), 0)
        return scale_BD.index_select(0, index_N).mul_(centred_ND), None, None, None
