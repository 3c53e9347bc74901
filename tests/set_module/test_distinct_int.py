"""Distinct random numbers: those of a plain shuffle, as uniform as they must be, without the list that it shuffles."""

import itertools

import pytest
import torch
from torch import Tensor

from set_module.counter_rng import FIXED, random_int
from set_module.distinct_int import SORTED, distinct_int


def sets_of(lengths: list[int], index: list[int] | None = None) -> dict[str, Tensor]:
    lengths_B = torch.tensor(lengths)
    return {
        "index_B": torch.arange(len(lengths)) if index is None else torch.tensor(index),
        "lengths_B": lengths_B,
        "set_N": torch.arange(len(lengths)).repeat_interleave(lengths_B),
        "number_N": torch.cat([torch.arange(n) for n in lengths]),
    }


def shuffled(high: int, seed: int, epoch: int, index: int, length: int) -> list[int]:
    """Return the first numbers of a list of all numbers that is shuffled step by step."""
    numbers = list(range(high))
    for k in range(length):
        j = k + int(random_int(high - k, seed, epoch, torch.tensor([index]), draw=1 + k))
        numbers[k], numbers[j] = numbers[j], numbers[k]
    return numbers[:length]


@pytest.mark.parametrize(
    ("high", "lengths"),
    [
        (1, [1]),
        (2, [2, 1, 2]),
        (5, [5, 0, 3, 5, 4]),
        (50, [50, 50, 1, 20, 49]),
        (100_000, [300, 2, 70]),
        (150, [150] * 20),  # more than are sorted at once
        (3000, [700, 1000, 900]),
    ],
)
def test_they_are_the_first_of_a_shuffled_list(high, lengths):
    index = [7 + 3 * b for b in range(len(lengths))]
    drawn_N = distinct_int(high, 3, FIXED, **sets_of(lengths, index))
    assert drawn_N.dtype == torch.int64
    expected = [shuffled(high, 3, FIXED, i, n) for i, n in zip(index, lengths, strict=True)]
    assert drawn_N.tolist() == list(itertools.chain(*expected))


@pytest.mark.parametrize(("high", "length", "sets"), [(6, 3, 24_000), (7, 2, 8_400), (4, 4, 4_800)])
def test_every_order_of_every_subset_is_equally_likely(high, length, sets):
    drawn_BK = distinct_int(high, 0, 0, **sets_of([length] * sets)).view(sets, length)
    orders = list(itertools.permutations(range(high), length))
    code_B = drawn_BK @ high ** torch.arange(length)
    codes = torch.tensor([sum(k * high**i for i, k in enumerate(each)) for each in orders])
    counts = (code_B[:, None] == codes).sum(0).double()
    assert counts.sum() == sets
    expected, freedom = sets / len(orders), len(orders) - 1
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert abs(chi_square - freedom) / (2 * freedom) ** 0.5 < 5


@pytest.mark.parametrize("high", [200, 100_000])
def test_a_set_is_the_same_in_any_batch_and_the_beginning_of_a_larger_one(high):
    lengths = [150, 3, 80, 200, 120] * 8
    assert sum(lengths) > SORTED
    together = distinct_int(high, 1, 2, **sets_of(lengths)).split(lengths)
    for b in range(5):
        assert torch.equal(distinct_int(high, 1, 2, **sets_of([200], [b]))[: lengths[b]], together[b])
        assert torch.equal(distinct_int(high, 1, 2, **sets_of([lengths[b]], [b])), together[b])
    for changed in (distinct_int(high, 2, 2, **sets_of([150])), distinct_int(high, 1, 3, **sets_of([150]))):
        assert not torch.equal(changed, together[0])


def test_sets_of_a_large_range_take_no_memory_for_what_is_not_drawn():
    drawn = distinct_int(2**31 - 1, 0, 0, **sets_of([1000, 1000])).view(2, 1000)  # a list of all would take 32 GiB
    assert all(len(each.unique()) == 1000 for each in drawn)
    assert drawn.max() > 2**31 * 0.99
