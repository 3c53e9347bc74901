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
        ((10, 10, None, 5, 0, None), "data.valid=10 leaves none of the 10 items for training"),
        ((1, 0.1, None, 5, 0, None), "data.valid=0.1 leaves none of the 1 items for training"),
        ((3, 0, 4, 5, 0, None), "data.num_folds=5 leaves none of the 3 items for validation: choose fewer folds"),
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


def test_the_order_of_the_published_results():
    assert EpochOrder(10, 0).permutation().tolist() == [6, 3, 0, 4, 9, 7, 8, 5, 1, 2]
    assert EpochOrder(10, seed=3, epoch=2).permutation().tolist() == [6, 2, 7, 5, 3, 1, 4, 0, 8, 9]


LABELS = torch.tensor([0] * 30 + [2] * 4 + [3] * 13)[torch.randperm(47, generator=torch.Generator().manual_seed(0))]


def test_balanced_classes_get_equal_shares_of_an_epoch():
    for epoch in range(5):
        numbers = EpochOrder(47, seed=1, epoch=epoch, labels_M=LABELS).permutation()
        assert len(numbers) == len(numbers.unique()) == 47  # a repetition has a number of its own
        items = numbers % 47
        assert sorted(LABELS[items].bincount().tolist()) == [0, 15, 16, 16]  # no image is labelled 1
        for label in (0, 2, 3):
            times = items.bincount(minlength=47)[label == LABELS]
            assert times.max() - times.min() <= 1
        assert (numbers // 47).max() == 3  # 4 images for 15 or 16 places


def test_balanced_order_is_a_function_of_seed_and_epoch():
    order = EpochOrder(47, seed=1, labels_M=LABELS)
    first, seen = list(order), [list(order)]
    for epoch in range(1, 12):
        order.set_epoch(epoch)
        seen.append(list(order))
    assert len({tuple(each) for each in seen}) == 12
    assert {i % 47 for each in seen for i in each} == set(range(47))  # no image of the large class is left out for good
    order.set_epoch(0)
    assert list(order) == first
    assert list(EpochOrder(47, seed=2, labels_M=LABELS)) != first
    shares = [list(EpochOrder(47, 1, 0, rank, 2, LABELS)) for rank in (0, 1)]
    assert [i for pair in zip(*shares, strict=True) for i in pair][:47] == first


def test_repetitions_are_the_same_image_with_other_patches():
    source = MemorySource(torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1), torch.arange(6) * 10)
    part = Part(source, torch.tensor([1, 3, 5]), repeats=True)
    images, labels, index = part.__getitems__([2, 0, 3, 6])
    assert images.flatten().tolist() == [5, 1, 1, 1]
    assert labels.tolist() == [50, 10, 10, 10]
    assert index.tolist() == [5, 1, 1 + 6, 1 + 12]


def test_batches_are_those_of_torch():
    for drop_last in (False, True):
        order = EpochOrder(10, seed=0)
        ours = [batch.tolist() for batch in ResumableBatches(order, 3, drop_last)]
        assert ours == list(BatchSampler(order, 3, drop_last))


def test_batches_of_images_on_another_device_are_tensors_there():
    batches = ResumableBatches(EpochOrder(10, seed=0), 3, False)
    batches.device = torch.device("meta")  # in the place of a GPU
    assert [(batch.device.type, len(batch)) for batch in batches] == [("meta", 3)] * 3 + [("meta", 1)]


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
