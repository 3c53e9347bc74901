"""Batches are the bags in the files, whichever way they are read."""

import numpy as np
import pytest
import torch
from bags import features_of, write_bag, write_bags, write_table

from datamodule import data_module
from datamodule.bag_file import ENDINGS
from datamodule.feature_bags import BadBagsError, FeatureBags
from datamodule.loader import SetSource
from process.errors import UserError

LENGTHS = [3, 1, 40, 2, 6, 5, 30, 2, 4, 7, 1, 5]
TEST = ["train"] * 9 + ["test"] * 3


@pytest.fixture
def bags(settings, tmp_path):
    """Build the data module of the bags in tmp_path."""
    facts = {"channels": None, "image_size": None, "features": 4, "num_classes": 2, "valid": 0, "mean": [0.0]}
    own = {"root": str(tmp_path), "draw": "rows", "memory_limit_gib": 0}
    return lambda **changes: FeatureBags(**settings | facts | own | changes)


def by_bag(batches):
    """Return {position in the source: numbers of its elements}; each element says to which bag it belongs."""
    found = {}
    for sets, labels, index in batches:
        for one, label, i in zip(sets, labels, index.tolist(), strict=True):
            assert set(one[:, 0].tolist()) == {i}
            assert int(label) == i % 2
            found[i] = one[:, 1].int().tolist()
    return found


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "settings_of_reading",
    [{}, {"num_workers": 0}, {"num_workers": 2}, {"memory_limit_gib": 1}],
    ids=["threads", "alone", "workers", "memory"],
)
def test_batches_of_unequal_bags_hold_the_elements_of_the_files(bags, tmp_path, ending, settings_of_reading):
    write_bags(tmp_path, LENGTHS, ending=ending)
    data = bags(**settings_of_reading)
    data.setup()
    assert isinstance(data.source("train"), SetSource) == ("memory_limit_gib" in settings_of_reading)
    batches = list(data.train_dataloader())
    assert [len(sets) for sets, _, _ in batches] == [4, 4, 4]
    assert by_bag(batches) == {i: list(range(length)) for i, length in enumerate(LENGTHS)}
    for sets, _, index in batches:
        expected = [features_of(i, LENGTHS[i], 4) for i in index.tolist()]
        assert torch.equal(sets.values, torch.from_numpy(np.concatenate(expected)))


@pytest.mark.parametrize("draw", ["rows", "runs"])
def test_a_subset_is_a_function_of_seed_epoch_and_bag(bags, tmp_path, draw):
    write_bags(tmp_path, LENGTHS)
    ways = [{}, {"num_workers": 0, "batch_size": 2}, {"num_workers": 2}, {"memory_limit_gib": 1}]
    loaders = [bags(max_elements=4, draw=draw, **way).train_dataloader() for way in ways]
    epochs = []
    for epoch in range(3):
        for loader in loaders:
            loader.batch_sampler.sampler.set_epoch(epoch)
        first, *others = [by_bag(loader) for loader in loaders]
        assert all(other == first for other in others)
        assert {i: len(numbers) for i, numbers in first.items()} == {i: min(4, n) for i, n in enumerate(LENGTHS)}
        epochs.append(first)
    assert epochs[0] != epochs[1] != epochs[2]
    tests = [by_bag(bags(max_elements=4, draw=draw, seed=seed).ordered_dataloader("train")) for seed in (0, 1)]
    assert tests[0] != tests[1]


def test_test_bags_are_the_same_for_every_seed_and_of_any_size(bags, tmp_path):
    write_bags(tmp_path, [9] * 3 + LENGTHS[3:], split=["test"] * 3 + ["train"] * 9)
    tests = [by_bag(bags(max_elements=4, seed=seed).ordered_dataloader("test")) for seed in (0, 1)]
    assert tests[0] == tests[1]
    sized = bags().sized_dataloader("test", 5)
    assert [len(numbers) for numbers in by_bag(sized).values()] == [5, 5, 5]
    assert sized.dataset.source.lengths.tolist() == [9, 9, 9]


def test_a_batch_is_float16_if_all_files_are_until_it_is_on_the_device(bags, tmp_path):
    write_bags(tmp_path, [3, 3])
    for number in (0, 1):
        write_bag(tmp_path / "features" / f"{number}.npy", features_of(number, 3, 4, np.float16))
        data = bags()
        (batch,) = data.train_dataloader()
        assert batch[0].values.dtype == (torch.float16 if number else torch.float32)
        assert data.on_after_batch_transfer(batch, 0)[0].values.dtype == torch.float32


def test_classes_are_named_by_the_table_and_parts_by_its_column(bags, tmp_path):
    write_bags(tmp_path, [2] * 6, label=list("bacbac"), split=["train", "train", "train", "val", "test", "test"])
    data = bags(num_classes=3)
    data.setup()
    assert data.class_names == ["a", "b", "c"]
    assert data.targets("train").tolist() == [1, 0, 2]
    assert [data.summary()[part] for part in ("train", "valid", "test")] == [3, 1, 2]
    assert data.class_counts("valid") == [0, 1, 0]


def test_without_classes_labels_are_numbers(bags, tmp_path):
    write_bags(tmp_path, [2, 2, 2], label=["0.5", "-3", "1e2"])
    data = bags(num_classes=None, target_shape=[])
    data.setup()
    assert data.class_names == []
    assert data.targets("train").tolist() == [0.5, -3, 100]
    write_table(tmp_path, [{"bag": 0, "label": "nan"}, {"bag": 1, "label": "high"}])
    with pytest.raises(UserError, match=r"without data.num_classes, labels are numbers: nan, high"):
        bags(num_classes=None, target_shape=[]).source("train")


def test_groups_and_folds_of_the_table_are_kept(bags, tmp_path):
    groups = [f"p{number // 3}" for number in range(12)]
    write_bags(tmp_path, LENGTHS, group=groups)
    data = bags(valid=0.25)
    held_out = {groups[i] for i in data.position("valid").tolist()}
    assert len(held_out) == 1
    assert not held_out & {groups[i] for i in data.position("train").tolist()}
    write_bags(tmp_path, LENGTHS, fold=[number % 4 for number in range(12)], split=["train"] * 8 + ["test"] * 4)
    data = bags(fold=3)
    assert data.position("valid").tolist() == [3, 7]
    assert len(data.position("train")) == 6
    assert len(data.position("test")) == 4
    with pytest.raises(UserError, match=r"data.fold=4: .*bags.csv has the folds 0, 1, 2, 3"):
        bags(fold=4).position("train")
    write_bags(tmp_path, LENGTHS, split=["train"] * 8 + ["valid"] * 4)
    with pytest.raises(UserError, match=r"data.fold=1: the column split says .*: data.fold=null"):
        bags(fold=1).position("train")


def test_all_files_that_cannot_be_used_are_named_in_one_message(bags, tmp_path):
    write_bags(tmp_path, LENGTHS, split=TEST)
    folder = tmp_path / "features"
    for number in (2, 11):
        (folder / f"{number}.npy").unlink()
    write_bag(folder / "4.npy", features_of(4, 5, 3))
    write_bag(folder / "5.npy", features_of(5, 0, 4))
    (folder / "6.npy").write_bytes(b"no array")
    with pytest.raises(UserError) as error:
        bags().setup("fit")
    assert str(error.value) == (
        f"{tmp_path}/bags.csv: missing in {folder} (.npy .pt .h5 .safetensors): 2, 11; "
        "3 features, not 4 as the others: 4; empty: 5; cannot be read as .npy (it holds no array of NumPy): 6: "
        "replace these files, or remove their lines from the table"
    )


@pytest.mark.parametrize("memory", [0, 1])
@pytest.mark.parametrize("workers", [None, 0, 1])
def test_nan_is_found_when_it_is_read_and_all_files_with_it_are_named(bags, tmp_path, memory, workers):
    write_bags(tmp_path, LENGTHS, split=TEST)
    for number, value in ((2, np.nan), (6, -np.inf), (11, np.inf)):
        features = features_of(number, LENGTHS[number], 4)
        features[-1, 2] = value
        write_bag(tmp_path / "features" / f"{number}.npy", features)
    data = bags(memory_limit_gib=memory, num_workers=workers)
    with pytest.raises(BadBagsError) as error:
        for _ in data.train_dataloader():
            pass
    folder = tmp_path / "features"
    assert str(error.value) == (
        f"{folder}: NaN or infinite features: 2, 6, 11: replace these files, or remove their lines from the table"
    )


def test_a_network_of_another_width_is_refused(bags, tmp_path):
    write_bags(tmp_path, [3, 3])
    with pytest.raises(UserError, match=r"bags of 4 features, and the network was built for data.features=5"):
        bags(features=5).source("train")


def test_reading_ahead_ends_with_its_reader(bags, tmp_path):
    write_bags(tmp_path, LENGTHS)
    loader = bags(batch_size=1).train_dataloader()
    assert loader.ahead == data_module.AHEAD
    batches = iter(loader)
    first = next(batches)
    batches.close()
    assert by_bag([first]).keys() <= set(range(12))
    assert len(list(loader)) == 12


def test_a_crash_while_reading_ahead_comes_to_the_reader(bags, tmp_path):
    write_bags(tmp_path, LENGTHS)
    loader = bags(batch_size=1).train_dataloader()
    (tmp_path / "features" / "7.npy").unlink()
    with pytest.raises(BadBagsError, match=r"7.npy: cannot be read as .npy \(No such file or directory\): replace it"):
        list(loader)


def test_elements_with_a_label_above_0_are_evidence(bags, tmp_path):
    write_bags(tmp_path, LENGTHS, split=TEST)
    write_bag(tmp_path / "features" / "10.npy", features_of(10, 3, 4), instance_labels=np.array([[0], [2], [-1]]))
    labels = bags().instance_labels("test")
    assert [None if label_n is None else label_n.tolist() for label_n in labels] == [None, [False, True, False], None]
