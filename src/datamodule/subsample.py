"""Some elements of sets that are too large, the same in whatever batch, worker or rank."""

from torch import Tensor

from set_module.counter_rng import random_int
from set_module.set_batch import SetBatch

# B sets, N elements in all, K kept elements

STREAM = 0x454C454D  # added to the seed: independent of other random numbers with the same seed
BITS = 31  # of a random number; the number of a set in the batch is above them


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
