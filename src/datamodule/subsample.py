"""Some elements of sets that are too large, the same in whatever batch, worker or rank."""

import torch
from torch import Tensor

from set_module.counter_rng import random_int
from set_module.set_batch import SetBatch

# B sets, N elements in all, K kept elements, R runs of neighbours

STREAM = 0x454C454D  # added to the seed: independent of other random numbers with the same seed
BITS = 31  # of a random number; the number of a set in the batch is above them
RUN = 64  # neighbours that are drawn together, at most
RUNS = 16  # that are drawn of a set, at least


def subsample(sets: SetBatch, n: int, seed: int, epoch: int, index_B: Tensor) -> SetBatch:
    """Return n random elements of each set without replacement, in their order; all of a smaller set.

    A function of (seed, epoch, index_B). Does not wait for a GPU unless a set is larger than n.
    """
    if sets.max_len <= n:
        return sets
    number_N = sets.numbers()
    random_N = random_int(2**BITS - 1, seed + STREAM, epoch, index_B.index_select(0, sets.index), draw=number_N)
    order_N = (sets.index * 2**BITS + random_N).argsort(stable=True)  # set by set, in each a random order
    kept_K = order_N[number_N < n].sort().values
    values, index_K = sets.values.index_select(0, kept_K), sets.index.index_select(0, kept_K)
    return SetBatch.trusted(values, sets.lengths.clamp(max=n), index_K, n)


def chosen_rows(length: int, n: int, seed: int, epoch: int, index: int, runs: bool = False) -> Tensor | None:
    """Return the numbers of the elements of one set that `subsample` keeps, int64 [K], increasing; None for all.

    With `runs`, they are neighbours in runs of at most RUN, of which random ones are taken without replacement. The
    runs begin at a random element and go on at the first after the last, so all elements are equally likely, but
    neighbours come together.
    """
    if length <= n:
        return None
    index_1 = torch.tensor([index])
    if not runs:
        number_n = torch.arange(length)
        random_n = random_int(2**BITS - 1, seed + STREAM, epoch, index_1, draw=number_n)
        key_n = random_n * 2**BITS + number_n  # no two are equal, so the n smallest are those of a stable sort
        return (key_n <= key_n.kthvalue(n).values).nonzero()[:, 0]
    size = max(1, min(RUN, n // RUNS))
    number_R = torch.arange(-(-length // size))
    first = int(random_int(length, seed + STREAM, epoch, index_1, draw=length))
    order_R = random_int(2**BITS - 1, seed + STREAM, epoch, index_1, draw=number_R).argsort(stable=True)
    within_K = (order_R[: n // size + 2, None] * size + torch.arange(size)).flatten()
    return ((within_K[within_K < length][:n] + first) % length).sort().values
