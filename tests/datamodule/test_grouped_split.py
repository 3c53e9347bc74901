import pytest
import torch

from datamodule.grouped_split import divide, grouped_split
from process.errors import UserError

LABELS = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)


def split(labels=LABELS, groups=None, valid=0.2, fold=None, num_folds=5, seed=0, limit_train=None):
    groups = [str(number) for number in range(len(labels))] if groups is None else groups
    return grouped_split(labels, groups, valid, fold, num_folds, seed, limit_train)


def test_each_class_has_its_share_exactly_where_no_bag_belongs_to_another():
    train, valid = split()
    assert torch.cat([train, valid]).sort().values.tolist() == list(range(100))
    assert LABELS[valid].bincount().tolist() == [12, 6, 2]
    assert split()[1].tolist() == valid.tolist() == sorted(valid.tolist())
    assert split(seed=1)[1].tolist() != valid.tolist()
    assert LABELS[split(valid=10)[1]].bincount().tolist() == [6, 3, 1]
    assert [len(part) for part in split(valid=0)] == [100, 0]


def test_folds_hold_each_bag_once_and_each_class_in_equal_shares():
    folds = [split(fold=fold) for fold in range(5)]
    assert torch.cat([valid for _, valid in folds]).sort().values.tolist() == list(range(100))
    for train, valid in folds:
        assert LABELS[valid].bincount().tolist() == [12, 6, 2]
        assert not set(train.tolist()) & set(valid.tolist())


@pytest.mark.parametrize("fold", [None, 0, 3])
def test_no_group_is_divided_and_the_classes_are_nearly_as_in_all(fold):
    generator = torch.Generator().manual_seed(4)
    group = torch.randint(40, (400,), generator=generator)
    labels = torch.randint(3, (40,), generator=generator)[group]  # all bags of a patient have one label
    train, valid = split(labels, [f"p{number}" for number in group.tolist()], fold=fold)
    assert not set(group[train].tolist()) & set(group[valid].tolist())
    share = labels[valid].bincount(minlength=3) / labels.bincount(minlength=3)
    assert (share - 0.2).abs().max() < 0.1  # a group holds a tenth of a class


def test_a_share_of_few_groups_is_at_least_one():
    labels = torch.tensor([0, 1, 0, 1])
    train, valid = split(labels, ["a", "a", "b", "c"], valid=0.01)
    assert len(valid) == 1
    assert len(train) == 3


def test_fewer_training_bags_leave_the_validation_as_it_is():
    train, valid = split(limit_train=7)
    whole, same = split()
    assert len(train) == 7
    assert set(train.tolist()) <= set(whole.tolist())
    assert torch.equal(valid, same)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"valid": 100}, "data.valid=100 leaves none of the 100 items for training"),
        ({"groups": ["a"] * 100}, "leaves none of the 100 items for training"),
        ({"groups": ["a"] * 50 + ["b"] * 50, "fold": 4}, "none of the 100 items for validation: choose more, or fewer"),
        ({"limit_train": 81}, "data.limit_train=81: choose 1 to 80"),
    ],
)
def test_an_empty_part_is_refused(settings, words):
    with pytest.raises(UserError, match=words):
        split(**settings)


def test_unequal_shares_of_one_class_are_allotted_as_seats():
    counts = divide(torch.zeros(10, dtype=torch.int64), list("abcdefghij"), [0.5, 0.3, 0.2], 0).bincount()
    assert counts.tolist() == [5, 3, 2]
