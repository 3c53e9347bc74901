"""Sets of vectors, targets that are no labels, and sets that are too large."""

import pytest
import torch

from datamodule.data_module import DataModule
from datamodule.loader import MemorySource, SetSource
from process.errors import UserError
from set_module.set_batch import SetBatch

LENGTHS = torch.tensor([3, 1, 4, 2, 6, 5, 3, 2, 4, 7, 1, 5])


class Vectors(DataModule):
    """Twelve training and three test sets of vectors (set, number); a target is the length of the set."""

    def load(self, part):
        if part == "valid":
            return None
        lengths = LENGTHS if part == "train" else LENGTHS[:3]
        sets = SetBatch(torch.zeros(int(lengths.sum())), lengths)
        values = torch.stack([sets.index, sets.numbers()], dim=1).float()
        return SetSource(sets.with_values(values), self.made_of(lengths))

    made_of = staticmethod(lambda lengths: lengths.float())


@pytest.fixture
def vectors(settings):
    facts = {"channels": None, "image_size": None, "features": 2, "num_classes": None, "target_shape": [], "valid": 4}
    return lambda **changes: Vectors(**settings | facts | changes)


def by_set(batches):
    """Return {position in the source: numbers of its elements} and the targets."""
    found, targets = {}, {}
    for sets, target, index in batches:
        assert sets.values.dtype == torch.float32
        for one, value, i in zip(sets, target, index.tolist(), strict=True):
            assert set(one[:, 0].tolist()) == {i}
            found[i], targets[i] = one[:, 1].int().tolist(), value
    return found, targets


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_sets_of_vectors_with_their_targets(vectors, workers):
    data = vectors(num_workers=workers)
    data.setup("fit")
    found, targets = by_set([*data.train_dataloader(), *data.val_dataloader()])
    assert {i: len(numbers) for i, numbers in found.items()} == dict(enumerate(LENGTHS.tolist()))
    assert {i: float(target) for i, target in targets.items()} == dict(enumerate(LENGTHS.tolist()))
    assert data.class_names == []
    assert {"train": 8, "valid": 4, "test": 3}.items() <= data.summary().items()
    assert data.targets("test").tolist() == [3, 1, 4]


def test_targets_may_be_of_several_tasks(vectors):
    data = vectors()
    data.made_of = lambda lengths: {"length": lengths, "row": torch.stack([lengths, -lengths], 1)}
    for _, targets, index in data.train_dataloader():
        assert torch.equal(targets["length"], LENGTHS[index])
        assert torch.equal(targets["row"][:, 1], -LENGTHS[index])
        moved = data.transfer_batch_to_device((torch.zeros(1), targets, index), torch.device("meta"), 0)
        assert [moved[0].device.type, moved[1]["row"].device.type, moved[2].device.type] == ["meta"] * 3
    assert data.targets("train")["row"].shape == (8, 2)
    source = data.source("train").to(torch.device("meta"))
    assert {source.targets["row"].device.type, source.members.values.device.type} == {"meta"}


@pytest.mark.parametrize(
    ("facts", "made_of", "words"),
    [
        ({"features": 3}, None, r"train vectors are \(2,\) \(features,\), data.features say \(3,\)"),
        ({"target_shape": [2]}, None, r"targets have the shape \[\], data.target_shape says \[2\]"),
        (
            {"num_classes": 7},
            lambda n: n[:, None].float(),
            r"targets are \[12, 1\], and data.num_classes=7 asks for a label",
        ),
        ({"num_classes": 7}, lambda n: n, "labels are 1 to 7, and data.num_classes=7 asks for labels from 0 to 6"),
        (
            {"flip": True},
            None,
            "vectors are neither cropped, flipped nor warped: data.crop_padding=0 data.flip=false data.warp=0",
        ),
        ({"crop_padding": 1}, None, "vectors are neither cropped, flipped nor warped"),
    ],
)
def test_what_contradicts_the_data_is_refused(vectors, facts, made_of, words):
    def load():
        data = vectors(**facts)
        data.made_of = made_of or data.made_of
        data.source("train")

    with pytest.raises(UserError, match=words):
        load()


def test_data_without_classes_cannot_be_balanced(vectors):
    with pytest.raises(UserError, match=r"data.balanced=true: these data have no classes.*data.balanced=false"):
        vectors(balanced=True).train_dataloader()


def test_sets_without_a_target_each_are_refused():
    with pytest.raises(UserError, match="2 sets and 3 targets: each set needs one target"):
        SetSource(SetBatch(torch.zeros(3, 1), [1, 2]), torch.zeros(3))


@pytest.mark.parametrize("workers", [0, 2])
def test_larger_sets_are_subsampled_anew_in_each_epoch_and_not_in_validation(vectors, workers):
    data, other = vectors(max_elements=3, num_workers=workers), vectors(max_elements=3, batch_size=2)
    loader, others = data.train_dataloader(), other.train_dataloader()
    epochs = []
    for epoch in range(3):
        for each in (loader, others):
            each.batch_sampler.sampler.set_epoch(epoch)
        epochs.append(by_set(loader)[0])
        assert epochs[-1] == by_set(others)[0]  # in other batches
    assert all(
        {i: len(numbers) for i, numbers in each.items()} == {i: min(3, LENGTHS[i]) for i in each} for each in epochs
    )
    assert epochs[0] != epochs[1] != epochs[2]
    fixed = [by_set(vectors(max_elements=3, seed=seed).ordered_dataloader("test"))[0] for seed in (0, 1)]
    assert fixed[0] == fixed[1]
    assert [len(numbers) for numbers in fixed[0].values()] == [3, 1, 3]


def test_sets_of_exactly_n(vectors):
    found, _ = by_set(vectors(max_elements=1).sized_dataloader("test", 2))
    assert [len(numbers) for numbers in found.values()] == [2, 1, 2]
    assert set(found[2]) <= {0, 1, 2, 3}


def test_images_have_no_size(counting):
    assert counting().sized_dataloader("test", 2) is None


def test_a_multi_hot_target_is_counted_by_label(vectors):
    rows = torch.eye(3)[torch.arange(12) % 3] + torch.eye(3)[0]
    data = vectors(num_classes=3, target_shape=None)
    data.made_of = lambda lengths: rows[: len(lengths)].clamp(max=1)
    assert data.class_counts("test") == [3, 1, 1]
    assert isinstance(data.source("test"), MemorySource)
