"""Training bags that are drawn anew: their labels stay right, their size says nothing, and nothing else is mixed."""

from collections import Counter

import pytest
import torch
from tiny_mnist import write_mnist

from datamodule.data_module import DataModule
from datamodule.loader import SetSource
from datamodule.mixing import Mixing
from datamodule.mnist_bags import MNISTBags
from process.errors import UserError
from set_module.set_batch import SetBatch

LENGTHS = [2, 5, 3, 4, 2, 6]
LABELS = torch.tensor([0, 1, 0, 1, 1, 0])
TRAINING = torch.tensor([0, 1, 2, 3])  # the bags 4 and 5 are those of the validation
BAGS = SetBatch(torch.arange(sum(LENGTHS)), LENGTHS)  # the elements are numbered: bag 0 holds 0 and 1


def mixing(most=3, seed=0):
    return Mixing(BAGS, LABELS, TRAINING, most, seed)


def draws(most):
    """Return 3000 mixtures of each of the bags 0 to 3, as lists of elements, by bag."""
    own_B = TRAINING.repeat(3000)
    found = {bag: [] for bag in TRAINING.tolist()}
    for bag, places in zip(own_B.tolist(), mixing(most).places(own_B, 0, torch.arange(len(own_B))), strict=True):
        found[bag].append(places.tolist())
    return found


def test_a_positive_bag_keeps_its_elements_and_gets_negative_ones():
    found = draws(most=3)
    for bag in (1, 3):
        own = BAGS[bag].tolist()
        assert all(places[: len(own)] == own for places in found[bag])
        extra = Counter(len(places) - len(own) for places in found[bag])
        assert set(extra) == {0, 1, 2, 3}
        assert all(abs(count / 3000 - 1 / 4) < 0.04 for count in extra.values())  # 5 standard deviations
        others = Counter(place for places in found[bag] for place in places[len(own) :])
        assert set(others) == {*BAGS[0].tolist(), *BAGS[2].tolist()}  # negative bags of the training alone
        assert all(abs(count / others.total() - 1 / 5) < 0.04 for count in others.values())


def test_a_negative_bag_is_drawn_from_all_negative_training_bags():
    found = draws(most=3)
    for bag in (0, 2):
        elements = Counter(place for places in found[bag] for place in places)
        assert set(elements) == {*BAGS[0].tolist(), *BAGS[2].tolist()}
        assert all(abs(count / elements.total() - 1 / 5) < 0.02 for count in elements.values())


@pytest.mark.parametrize("most", [0, 3])
def test_sizes_of_both_classes_are_distributed_alike(most):
    found = draws(most)
    sizes = {bag: Counter(map(len, drawn)) for bag, drawn in found.items()}
    positive = sizes[1] + sizes[3]
    assert set(positive) == {size + extra for size in (4, 5) for extra in range(most + 1)}
    for bag in (0, 2):
        assert set(sizes[bag]) == set(positive)
        for size, count in positive.items():
            assert sizes[bag][size] / 3000 == pytest.approx(count / 6000, abs=0.05)


def test_a_bag_depends_on_seed_epoch_and_number_alone():
    together = list(mixing().places(TRAINING, 7, TRAINING))
    for bag in (3, 0):
        (alone,) = mixing().places(torch.tensor([bag]), 7, torch.tensor([bag]))
        assert torch.equal(alone, together[bag])
    for other in (
        mixing().places(TRAINING, 8, TRAINING),
        mixing(seed=1).places(TRAINING, 7, TRAINING),
        mixing().places(TRAINING, 7, TRAINING + len(BAGS)),  # a repetition in the same epoch
    ):
        assert any(not torch.equal(one, two) for one, two in zip(together, other, strict=True))


@pytest.mark.parametrize(("bags", "label"), [([0, 2], 1), ([1], 0)])
def test_training_bags_of_one_class_are_refused(bags, label):
    with pytest.raises(UserError, match=rf"data.mix=3: none of the {len(bags)} training bags is of class {label}"):
        Mixing(BAGS, LABELS, torch.tensor(bags), 3, seed=0)


@pytest.fixture
def bags(tmp_path, settings):
    """Build bags of a tiny MNIST, whose digit i shows the digit i % 10; half of the bags hold a 9."""
    write_mnist(tmp_path, train=200, test=20)
    facts = {"root": str(tmp_path), "num_classes": 2, "image_size": [28, 28], "valid": 10}
    drawn = {"target_digit": 9, "bag_size_mean": 6, "bag_size_std": 2, "train_bags": 41, "test_bags": 9}
    return lambda **changes: MNISTBags(**settings | facts | drawn | {"mix": 4} | changes)


def epoch_of(data, epoch=0):
    """Return (images as bytes, label) by index_B of a training epoch."""
    loader = data.train_dataloader()
    loader.batch_sampler.sampler.set_epoch(epoch)
    found = {}
    for sets, labels, index in loader:
        for images, label, number in zip(sets, labels.tolist(), index.tolist(), strict=True):
            assert number not in found
            found[number] = (images.numpy().tobytes(), label)
    return found


@pytest.mark.parametrize("changes", [{"num_workers": 2}, {"batch_size": 7}])
def test_workers_and_batches_change_no_bag(bags, changes):
    first, again, second = epoch_of(bags()), epoch_of(bags(**changes)), epoch_of(bags(), epoch=1)
    common = first.keys() & again.keys()  # a last batch of one bag is left out
    assert len(common) >= 30
    assert all(first[number] == again[number] for number in common)
    assert any(first[number] != second[number] for number in first.keys() & second.keys())


def test_labels_and_labels_of_instances_follow_the_elements(bags):
    data = bags()
    part = data.train_dataloader().dataset
    hit_M = torch.cat(list(data.instance_labels("train")))
    validation = set(data.position("valid").tolist())
    owner_M = data.source("train").members.index
    changed = 0
    for epoch in range(20):
        index_B = part.position_M
        places = part.mixing.places(index_B, epoch, index_B)
        labels_B = data.source("train").targets[index_B]
        assert [bool(hit_M[bag].any()) for bag in places] == labels_B.bool().tolist()
        assert not validation & set(owner_M[places.values].tolist())
        images, labels, _ = part.__getitems__((epoch, torch.arange(len(part))))
        assert torch.equal(labels, labels_B)
        source = data.source("train")
        assert torch.equal(images.values, source.images_NCHW[source.members.values[places.values]])
        changed += int((places.lengths != source.lengths[index_B]).sum())
    assert changed > 0


def test_only_the_training_is_mixed(bags):
    data, plain = bags(), bags(mix=None)
    for part in ("train", "valid", "test"):
        mixed, expected = data.ordered_dataloader(part), plain.ordered_dataloader(part)
        for (sets, _, index), (others, _, others_index) in zip(mixed, expected, strict=True):
            assert torch.equal(index, others_index)
            assert torch.equal(sets.values, others.values)


def test_mixed_bags_are_reduced_to_max_elements(bags):
    data = bags(max_elements=5)
    sets, _, _ = next(iter(data.train_dataloader()))
    whole, _, _ = next(iter(bags().train_dataloader()))
    assert sets.lengths.tolist() == whole.lengths.clamp(max=5).tolist()
    seen, drawn = ([{image.numpy().tobytes() for image in bag} for bag in batch] for batch in (sets, whole))
    assert all(few <= all_of for few, all_of in zip(seen, drawn, strict=True))


def test_a_line_says_which_class_is_taken_for_negative(bags, caplog):
    with caplog.at_level("INFO"):
        bags().train_dataloader()
    assert "data.mix=4: bags of 'without 9' are drawn anew; 'with 9' get up to 4 elements of such bags" in caplog.text


def test_vectors_are_mixed_and_other_data_refused(settings, counting):
    class Vectors(DataModule):
        @property
        def class_names(self):
            return ["no", "yes", "perhaps"][: self.num_classes]

        def load(self, part):
            return SetSource(BAGS.map(lambda number: number[:, None].float()), LABELS) if part == "train" else None

    facts = {"features": 1, "channels": None, "image_size": None, "num_classes": 2, "valid": 2, "mix": 0}
    sets, labels, _ = next(iter(Vectors(**settings | facts).train_dataloader()))
    assert len(sets) == len(labels) == 4
    with pytest.raises(UserError, match=r"data.mix=2: only bags in memory can be mixed: data.mix=null"):
        counting(mix=2).train_dataloader()
    with pytest.raises(UserError, match=r"only bags that are labelled 0 or 1 can be mixed"):
        Vectors(**settings | facts | {"num_classes": 3}).train_dataloader()
