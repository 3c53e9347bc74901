import torch

from datamodule.subsample import subsample
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
