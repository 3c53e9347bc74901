import pytest
import torch
from torch.utils.data import BatchSampler

from datamodule.loader import EpochOrder, MemorySource, Part, ResumableBatches, split, split_hash
from process.errors import UserError


@pytest.mark.parametrize(("valid", "expected"), [(0.25, 25), (10, 10), (0, 0), (99, 99), (0.001, 1)])
def test_parts_are_disjoint_and_complete(valid, expected):
    train, held_out = split(100, valid, None, 5, 0, None)
    assert len(held_out) == expected
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(100))


@pytest.mark.parametrize("num_folds", [2, 5, 7])
def test_every_image_is_in_exactly_one_fold(num_folds):
    folds = [split(101, 0, k, num_folds, 3, None) for k in range(num_folds)]
    assert torch.cat([held_out for _, held_out in folds]).sort().values.tolist() == list(range(101))
    for train, held_out in folds:
        assert not set(train.tolist()) & set(held_out.tolist())
        assert len(train) + len(held_out) == 101


def test_the_seed_decides():
    one, same, other = (split(100, 10, None, 5, seed, None)[1] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert split_hash(one) == split_hash(same)
    assert split_hash(one) != split_hash(other)
    assert len(split_hash(one)) == 16


def test_hash_ignores_the_order():
    assert split_hash(torch.tensor([3, 1, 2])) == split_hash(torch.tensor([1, 2, 3]))
    assert split_hash(torch.tensor([1, 23])) != split_hash(torch.tensor([12, 3]))


def test_limit_train_nests_and_leaves_validation_alone():
    whole, held_out = split(100, 10, None, 5, 0, None)
    small, same = split(100, 10, None, 5, 0, 20)
    larger, _ = split(100, 10, None, 5, 0, 40)
    assert torch.equal(held_out, same)
    assert len(small) == 20
    assert set(small.tolist()) < set(larger.tolist()) < set(whole.tolist())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((10, 10, None, 5, 0, None), "data.valid=10 leaves none of the 10 images for training"),
        ((1, 0.1, None, 5, 0, None), "data.valid=0.1 leaves none of the 1 images for training"),
        ((3, 0, 4, 5, 0, None), "data.num_folds=5 leaves none of the 3 images for validation: choose fewer folds"),
        ((10, 2, None, 5, 0, 9), "data.limit_train=9: choose 1 to 8"),
        ((10, 2, None, 5, 0, 0), "data.limit_train=0: choose 1 to 8"),
    ],
)
def test_refuses_what_leaves_nothing(arguments, words):
    with pytest.raises(UserError, match=words):
        split(*arguments)


def test_index_is_the_position_in_the_source():
    source = MemorySource(torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1), torch.arange(6) * 10)
    part = Part(source, torch.tensor([1, 3, 5]))
    images, labels, index = part.__getitems__([2, 0])
    assert images.flatten().tolist() == index.tolist() == [5, 1]
    assert labels.tolist() == [50, 10]
    assert part[1][2].tolist() == [3]
    assert len(part) == 3


def test_order_is_a_function_of_seed_and_epoch():
    order, again = EpochOrder(50, seed=1), EpochOrder(50, seed=1)
    first = list(order)
    assert sorted(first) == list(range(50))
    order.set_epoch(1)
    assert list(order) != first
    order.set_epoch(0)
    assert list(order) == first == list(again)
    assert list(EpochOrder(50, seed=2)) != first


def test_batches_are_those_of_torch():
    for drop_last in (False, True):
        order = EpochOrder(10, seed=0)
        ours = [batch.tolist() for batch in ResumableBatches(order, 3, drop_last)]
        assert ours == list(BatchSampler(order, 3, drop_last))


def test_ranks_share_each_epoch():
    for size, world_size in ((10, 2), (11, 2), (3, 4)):
        orders = [EpochOrder(size, 0, 1, rank, world_size) for rank in range(world_size)]
        shares = [list(order) for order in orders]
        assert {len(share) for share in shares} == {len(orders[0])} == {-(-size // world_size)}
        together = [i for group in zip(*shares, strict=True) for i in group]
        assert together[:size] == list(EpochOrder(size, 0, 1))  # the images of a step are those of one process


def test_a_resumed_epoch_starts_later():
    order = EpochOrder(10, seed=0)
    batches = ResumableBatches(order, 3, False)
    order.set_epoch(3)
    whole = [batch.tolist() for batch in batches]
    batches.resumed = 3, 2
    assert [batch.tolist() for batch in batches] == whole[2:]
    order.set_epoch(4)
    assert len([*batches]) == len(batches) == 4
