import pytest
import torch

from datamodule.subsample import chosen_rows, subsample
from set_module.counter_rng import FIXED
from set_module.set_batch import SetBatch

LENGTHS = [3, 7, 1, 12, 5]


def sets(lengths=LENGTHS):
    numbers = [torch.arange(n) + 100 * i for i, n in enumerate(lengths)]
    return SetBatch.from_list(numbers)


def test_larger_sets_keep_n_different_elements_of_their_own_in_their_order():
    whole, index = sets(), torch.tensor([4, 9, 2, 0, 7])
    for epoch in range(20):
        part = subsample(whole, 5, 0, epoch, index)
        SetBatch(part.values, part.lengths)  # raises if they do not add up
        assert part.lengths.tolist() == [3, 5, 1, 5, 5]
        assert part.max_len == 5
        assert part.index.tolist() == SetBatch(part.values, part.lengths).index.tolist()
        for kept, of in zip(part, whole, strict=True):
            assert kept.tolist() == sorted(set(kept.tolist()))
            assert set(kept.tolist()) <= set(of.tolist())
    assert subsample(whole, 12, 0, 0, index) is whole


def test_a_set_keeps_the_same_elements_in_any_batch_and_others_in_another_epoch_seed_or_place():
    whole, index = sets(), torch.tensor([4, 9, 2, 0, 7])
    together = subsample(whole, 4, 3, 8, index)
    for i, of in enumerate(whole):
        alone = subsample(SetBatch.from_list([of]), 4, 3, 8, index[i : i + 1])
        assert alone.values.tolist() == together[i].tolist()
    again = [
        subsample(whole, 4, seed, epoch, index)[3].tolist() for seed, epoch in ((3, 8), (3, 9), (4, 8), (3, FIXED))
    ]
    assert again[0] == together[3].tolist()
    assert len({tuple(each) for each in again}) == 4
    assert subsample(whole, 4, 3, 8, index + 1)[3].tolist() != again[0]


def test_all_elements_are_equally_likely():
    whole, epochs = sets([6]), 3000
    counts = torch.zeros(6)
    for epoch in range(epochs):
        counts[subsample(whole, 2, 0, epoch, torch.tensor([5])).values] += 1
    expected = epochs / 3
    assert (counts - expected).abs().max() < 4 * (expected * 2 / 3) ** 0.5


@pytest.mark.parametrize("epoch", [FIXED, 0, 5])
def test_the_rows_of_one_set_are_those_that_a_batch_keeps(epoch):
    whole, index = sets([300, 40, 3]), torch.tensor([4, 9, 2])
    kept = subsample(whole, 17, 3, epoch, index)
    for set_n, part, i in zip(whole, kept, index.tolist(), strict=True):
        rows = chosen_rows(len(set_n), 17, 3, epoch, i)
        assert torch.equal(set_n if rows is None else set_n[rows], part)


@pytest.mark.parametrize(("length", "n"), [(1000, 320), (1000, 999), (70, 64), (65, 64), (5, 1), (400, 20)])
def test_runs_are_different_neighbours_of_which_there_are_n(length, n):
    drawn = [chosen_rows(length, n, 0, epoch, 7, runs=True) for epoch in range(20)]
    for rows in drawn:
        assert len(rows) == n
        assert rows.tolist() == sorted(set(rows.tolist()))
        assert rows[0] >= 0
        assert rows[-1] < length
    assert len({tuple(rows.tolist()) for rows in drawn}) > 1
    assert torch.equal(drawn[3], chosen_rows(length, n, 0, 3, 7, runs=True))
    assert chosen_rows(n, n, 0, 0, 7, runs=True) is None


def test_runs_are_long():
    rows = chosen_rows(10_000, 1024, 0, 0, 3, runs=True)
    beginnings = int((rows.diff() > 1).sum()) + 1
    assert beginnings <= 1024 // 64 + 2


def test_in_runs_all_elements_are_equally_likely():
    epochs, length = 3000, 10
    counts = torch.zeros(length)
    for epoch in range(epochs):
        counts[chosen_rows(length, 4, 0, epoch, 5, runs=True)] += 1
    long = torch.zeros(100)  # in runs of two
    for epoch in range(epochs):
        long[chosen_rows(100, 40, 0, epoch, 5, runs=True)] += 1
    for found in (counts, long):
        expected = epochs * 0.4
        assert (found - expected).abs().max() < 4.5 * (expected * 0.6) ** 0.5
