import pytest
import torch

from datamodule.split import split, split_hash
from process.errors import UserError


@pytest.mark.parametrize(("valid", "expected"), [(0.25, 25), (10, 10), (0, 0), (99, 99)])
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
        ((10, 0.01, None, 5, 0, None), "data.valid=0.01 leaves none of the 10 images for validation"),
        ((3, 0, 4, 5, 0, None), "data.num_folds=5 leaves none of the 3 images for validation"),
        ((10, 2, None, 5, 0, 9), "data.limit_train=9: choose 1 to 8"),
        ((10, 2, None, 5, 0, 0), "data.limit_train=0: choose 1 to 8"),
    ],
)
def test_refuses_what_leaves_nothing(arguments, words):
    with pytest.raises(UserError, match=words):
        split(*arguments)
