"""Random numbers without state of which no two in a set are equal: time and memory by how many are drawn.

They are the first steps of a shuffle of 0..high-1 (Fisher and Yates; Durstenfeld 1964, Algorithm 235): step k swaps
number k with number j_k, uniform in {k..high-1}, and what stands at k after it is the k-th drawn. The list itself is
never made. Before step k, position j_k holds what the last earlier step i with j_i = j_k has put there, which is what
stood at position i before step i; for that, the last step before i that put something at position i says the same. If
there is no such step, a position holds its own number.
"""

# B sets, N numbers in all, S steps whose position may be that of another, A steps whose position an earlier one had

import torch
from torch import Tensor

from set_module.counter_rng import random_int, random_large_int

SORTED = 2048  # so many numbers are sorted in less time than those with an equal are found


def distinct_int(
    high: int | Tensor, seed: int, epoch: int, index_B: Tensor, lengths_B: Tensor, set_N: Tensor, number_N: Tensor
) -> Tensor:
    """Return lengths_B uniform integers in [0, high) for each set, int64 [N]; all orders of distinct ones are equally
    likely.

    set_N and number_N are the set of each and its number k in it. A function of (seed, epoch, index, k) with the draw
    1 + k, so a smaller set is the beginning of a larger one. No length may exceed high, which may be one number, below
    2**31, or int64 [B], one for each set, below 2**46. Waits for a GPU.
    """
    index_N = index_B.index_select(0, set_N)
    if isinstance(high, Tensor):
        left_N, largest = high.index_select(0, set_N) - number_N, int(high.max())
        drawn_N = random_large_int(left_N, seed, epoch, index_N, draw=1 + number_N).add_(number_N)
    else:
        largest = high
        drawn_N = random_int(high - number_N, seed, epoch, index_N, draw=1 + number_N).add_(number_N)  # j_k
    again_A, before_A = _repeated((set_N * largest).add_(drawn_N))
    if len(again_A) == 0:
        return drawn_N
    # the last earlier step that put something at position k, by the steps k; the step itself if there is none
    inside_N = (drawn_N < lengths_B.index_select(0, set_N)).logical_and_(drawn_N > number_N)
    step = inside_N.nonzero()[:, 0]
    target = step - number_N.index_select(0, step) + drawn_N.index_select(0, step)
    source_N = torch.arange(len(drawn_N), device=drawn_N.device)
    source_N = source_N.scatter_reduce(0, target, step, "amax", include_self=False)
    while not torch.equal(earlier_A := source_N.index_select(0, before_A), before_A):
        before_A = earlier_A
    return drawn_N.index_copy_(0, again_A, number_N.index_select(0, before_A))


def _repeated(place_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return which elements equal an earlier one, and the last earlier one that each equals, [A] and [A]."""
    some_S = None
    if len(place_N) > SORTED:  # leave out most of those that have no equal: they share no bin of a hash table
        bits = len(place_N).bit_length() + 2  # 4 to 8 bins for each element
        bin_N = (place_N * -7046029254386353131).bitwise_right_shift_(63 - bits).bitwise_and_((1 << bits) - 1)
        some_S = (torch.bincount(bin_N, minlength=1 << bits).index_select(0, bin_N) > 1).nonzero()[:, 0]
        place_N = place_N.index_select(0, some_S)
    sorted_S, order_S = place_N.sort(stable=True)
    if some_S is not None:
        order_S = some_S.index_select(0, order_S)
    equal_A = (sorted_S[1:] == sorted_S[:-1]).nonzero()[:, 0]
    return order_S[1:].index_select(0, equal_A), order_S[:-1].index_select(0, equal_A)
