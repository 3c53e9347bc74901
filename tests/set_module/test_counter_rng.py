"""The stateless generator: as uniform as it must be, and a pure function of its arguments."""

import pytest
import torch
from torch import Tensor

from set_module.counter_rng import FIXED, random_int


def chi_square(values: Tensor, bins: int) -> float:
    """Return how far the counts are from equal, in standard deviations of the chi-square distribution."""
    counts = torch.bincount(values, minlength=bins).double()
    assert len(counts) == bins
    expected = len(values) / bins
    statistic = ((counts - expected) ** 2 / expected).sum()
    return ((statistic - (bins - 1)) / (2 * (bins - 1)) ** 0.5).item()


INDEX = torch.arange(50_000)


@pytest.mark.parametrize("high", [2, 3, 10, 64, 196, 1000])
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_uniform_over_the_index(high, seed):
    assert abs(chi_square(random_int(high, seed, 0, INDEX), high)) < 5


@pytest.mark.parametrize("high", [2, 10, 196])
def test_uniform_over_draw_epoch_and_seed(high):
    one = torch.tensor([7])
    assert abs(chi_square(random_int(high, 0, 0, one, INDEX), high)) < 5
    assert abs(chi_square(torch.cat([random_int(high, 0, epoch, one) for epoch in range(2000)]), high)) < 5
    assert abs(chi_square(torch.cat([random_int(high, seed, 0, one) for seed in range(2000)]), high)) < 5


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (random_int(14, 0, 0, INDEX), random_int(14, 1, 0, INDEX)),
        (random_int(14, 0, 0, INDEX), random_int(14, 0, 1, INDEX)),
        (random_int(14, 0, 0, INDEX), random_int(14, 0, FIXED, INDEX)),
        (random_int(14, 0, 0, INDEX), random_int(14, 0, 0, INDEX + 1)),
        (random_int(14, 0, 0, INDEX, 0), random_int(14, 0, 0, INDEX, 1)),
        (random_int(14, 0, 0, INDEX, 1), random_int(14, 0, 0, INDEX, 2)),
        (random_int(14, 0, 1, INDEX), random_int(14, 1, 0, INDEX)),
    ],
    ids=["seed", "epoch", "fixed", "index", "draw 0, 1", "draw 1, 2", "seed and epoch swapped"],
)
def test_pairs_are_independent(first, second):
    assert abs(chi_square(first * 14 + second, 14 * 14)) < 5


def test_pure_and_independent_of_the_batch():
    torch.manual_seed(0)
    once = random_int(1000, 3, 5, INDEX)
    state = torch.get_rng_state()
    assert torch.equal(once, random_int(1000, 3, 5, INDEX))
    assert torch.equal(state, torch.get_rng_state())
    order = torch.randperm(len(INDEX))[:100]
    assert torch.equal(once[order], random_int(1000, 3, 5, order))
    assert once[17] == random_int(1000, 3, 5, torch.tensor(17))


def test_every_value_below_a_large_high_and_a_tensor_of_highs():
    drawn = random_int(2**31 - 1, 0, 0, INDEX)
    assert drawn.dtype == torch.int64
    assert 0 <= drawn.min() < 2**31 / 1000
    assert 2**31 * 0.999 < drawn.max() < 2**31 - 1
    highs = 1 + INDEX % 9
    assert (random_int(highs, 0, 0, INDEX) < highs).all()
    assert (random_int(1, 0, 0, INDEX) == 0).all()


def test_draws_broadcast_against_the_index():
    index, draw = torch.arange(4)[:, None], torch.arange(5)
    table = random_int(100, 0, 0, index, draw)
    assert table.shape == (4, 5)
    assert table[2, 3] == random_int(100, 0, 0, torch.tensor(2), torch.tensor(3))


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**64 - 1])
def test_any_whole_number_is_a_seed(seed):
    assert abs(chi_square(random_int(10, seed, 0, INDEX), 10)) < 5


def test_a_number_as_the_draw_equals_a_tensor():
    for draw in range(8):
        assert torch.equal(random_int(100, 0, 0, INDEX, draw), random_int(100, 0, 0, INDEX, torch.tensor(draw)))
