import logging
from functools import partial

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from recording_model import Recorder

from datamodule import data_module
from datamodule.loader import MemorySource
from process.errors import UserError

# Lightning 2.6 asks torch's pytree for a class that torch 2.15 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
REFILLED = "ignore:Checkpoint directory .* exists and is not empty"


def test_batches(counting):
    data = counting()
    data.setup("fit")
    seen = []
    for images, labels, index in data.train_dataloader():
        assert images.dtype == torch.uint8
        assert labels.dtype == index.dtype == torch.int64
        assert images.shape[1:] == (1, 2, 3)
        assert torch.equal(images[:, 0, 0, 0].long(), index)
        assert torch.equal(labels, index % 3)
        seen += index.tolist()
    held_out = torch.cat([index for _, _, index in data.val_dataloader()]).tolist()
    assert sorted(seen + held_out) == list(range(23))
    assert torch.cat([index for _, _, index in data.test_dataloader()]).tolist() == list(range(7))


def test_fit_sets_the_epoch_and_workers_change_nothing(counting, trainer):
    orders = []
    for workers in (0, 2):
        model = Recorder()
        trainer().fit(model, counting(num_workers=workers))
        orders.append([model.indices(epoch) for epoch in range(3)])
        assert len({tuple(order) for order in orders[-1]}) == 3
        assert len({tuple(sorted(order)) for order in orders[-1]}) == 1
    assert orders[0] == orders[1]


@pytest.mark.filterwarnings(REFILLED)
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop_at", [(0, 2), (1, 1), (1, 4), (2, 0)])
def test_resume_in_the_middle_of_an_epoch(counting, trainer, tmp_path, balanced, workers, stop_at):
    counting = partial(counting, balanced=balanced)
    whole = Recorder()
    trainer().fit(whole, counting())

    crashed, resumed = Recorder(), Recorder()
    crashed.stop_at = stop_at  # after the checkpoint of this step was written

    def every_step():
        return ModelCheckpoint(tmp_path, "last", every_n_train_steps=1, enable_version_counter=False)

    with pytest.raises(KeyError, match="crash"):
        trainer(enable_checkpointing=True, callbacks=[every_step()]).fit(crashed, counting(num_workers=workers))
    trainer(enable_checkpointing=True, callbacks=[every_step()]).fit(
        resumed, counting(num_workers=workers), ckpt_path=tmp_path / "last.ckpt", weights_only=True
    )
    seen = [i for model in (crashed, resumed) for epoch in model.trained for i in model.indices(epoch)]
    assert seen == [i for epoch in range(3) for i in whole.indices(epoch)]


@pytest.mark.filterwarnings(REFILLED)
@pytest.mark.parametrize("workers", [0, 2])
def test_train_longer_from_the_end_of_an_epoch(counting, trainer, tmp_path, workers):
    whole, first, longer = Recorder(), Recorder(), Recorder()
    trainer().fit(whole, counting())

    def every_epoch():
        return ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True, enable_version_counter=False)

    trainer(max_epochs=2, enable_checkpointing=True, callbacks=[every_epoch()]).fit(first, counting())
    trainer(enable_checkpointing=True, callbacks=[every_epoch()]).fit(
        longer, counting(num_workers=workers), ckpt_path=tmp_path / "last.ckpt", weights_only=True
    )
    assert list(longer.trained) == [2]
    assert longer.indices(2) == whole.indices(2)


def test_augments_while_training_only(counting, trainer):
    model = Recorder()
    data = counting(crop_padding=1)
    trainer(max_epochs=1).fit(model, data)
    trainer().test(model, data, verbose=False)
    for images, _, index in model.trained[0]:
        assert torch.equal(
            images, data.augment(index.to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 3), index, 0)
        )
    assert any((images == 0).any() for images, _, index in model.trained[0] if 0 not in index)
    for images, _, index in model.validated + model.tested:
        assert torch.equal(images.long(), index[:, None, None, None].expand(images.shape))


def test_without_validation_and_test(counting, trainer):
    data = counting(valid=0)
    data.sizes = {"train": 23}
    model = Recorder()
    trainer(max_epochs=1).fit(model, data)
    assert not data.has_valid
    assert not data.has_test
    assert model.validated == []
    assert data.summary() == {"train": 23, "valid": 0, "test": 0, "split_hash": None}


def test_a_given_validation_set_is_taken_whole(counting):
    data = counting(valid=5, fold=1)
    data.sizes = {"train": 23, "valid": 6, "test": 7}
    assert data.has_valid
    assert {"train": 23, "valid": 6, "test": 7}.items() <= data.summary().items()
    assert torch.cat([index for _, _, index in data.val_dataloader()]).tolist() == list(range(6))


def test_summary_and_folds(counting):
    assert {"train": 18, "valid": 5, "test": 7}.items() <= counting().summary().items()
    assert {"train": 10, "valid": 5}.items() <= counting(limit_train=10).summary().items()
    assert {counting(fold=k).summary()["valid"] for k in range(5)} == {4, 5}
    assert len({counting(fold=k).summary()["split_hash"] for k in range(5)}) == 5
    assert counting(seed=1).summary() == counting().summary()
    assert counting(split_seed=1).summary() != counting().summary()


@pytest.mark.parametrize(("valid", "sizes"), [(6, [4, 4, 4, 4]), (5, [4, 4, 4, 4, 2]), (22, [1])])
def test_leaves_out_a_last_batch_of_one(counting, valid, sizes):
    assert [len(index) for _, _, index in counting(valid=valid).train_dataloader()] == sizes


def test_batch_size_one_is_no_last_batch_of_one(counting):
    assert len(list(counting(batch_size=1).train_dataloader())) == 18


@pytest.fixture
def uneven(counting):
    """`uneven([20, 0, 3])` -> the tiny data module with so many images of each class."""

    def build(counts, **changes):
        data = counting(valid=0, **changes)
        labels = torch.arange(3).repeat_interleave(torch.tensor(counts))
        images = torch.arange(len(labels)).to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 3).contiguous()
        data.load = lambda part: MemorySource(images, labels) if part == "train" else None
        return data

    return build


@pytest.mark.parametrize("choice", [{}, {"limit_train": 12}, {"fold": 1}])
def test_balanced_training_shows_all_classes_equally_often(uneven, choice):
    data = uneven([20, 6, 4], balanced=True, **choice)
    batches = list(data.train_dataloader())
    labels, index = (torch.cat([batch[i] for batch in batches]) for i in (1, 2))
    allowed = data.position("train").tolist()
    assert len(labels) == len(allowed)
    assert labels.bincount().max() - labels.bincount().min() <= 1
    assert set((index % 30).tolist()) <= set(allowed)
    for images, _, index in batches:
        assert torch.equal(images[:, 0, 0, 0].long(), data.own_index(index))
    assert {len(data.targets("train")), len(torch.cat([b[2] for b in data.ordered_dataloader("train")]))} == {
        len(labels)
    }


@pytest.mark.parametrize(
    ("counts", "changes", "lines"),
    [
        ([20, 9, 2], {}, ["training has 20 images of 'a' and 2 images of 'c': data.balanced=true shows"]),
        ([20, 9, 2], {"balanced": True}, []),
        ([19, 9, 2], {}, []),
        ([9, 0, 9], {}, ["1 of 3 classes have no training image, such as 'b'"]),
        ([1, 0, 11], {}, ["1 of 3 classes have no", "training has 11 images of 'c' and 1 images of 'a'"]),
    ],
)
def test_imbalance_is_reported(uneven, caplog, counts, changes, lines):
    caplog.set_level(logging.INFO)
    uneven(counts, **changes).train_dataloader()
    assert len(caplog.messages) == len(lines)
    for message, line in zip(caplog.messages, lines, strict=True):
        assert message.startswith(line)


def test_facts_that_contradict_the_data_are_refused(uneven, counting):
    with pytest.raises(UserError, match=r"Counting has 3 class names, and data.num_classes=4"):
        counting(num_classes=4).setup("fit")
    with pytest.raises(UserError, match=r"labels are 0 to 2, and data.num_classes=2 asks for labels from 0 to 1"):
        counting(num_classes=2).setup("fit")
    data = uneven([3, 3, 3])
    source = data.load("train")
    data.load = lambda part: MemorySource(source.images_NCHW, source.targets - 1)
    with pytest.raises(UserError, match="labels are -1 to 1"):
        data.setup("fit")


def test_moves_to_a_device_with_room(counting, monkeypatch):
    data = counting()
    monkeypatch.setattr(type(data), "_device", torch.device("meta"))
    monkeypatch.setattr(data_module, "has_room", lambda source, device: True)
    part = data._part("train")
    assert part.source.images_NCHW.device.type == part.position_M.device.type == "meta"
    assert part[0][0].device.type == "meta"
    assert data._part("valid").source is part.source
    monkeypatch.setattr(data_module, "has_room", lambda source, device: False)
    assert counting()._part("train").position_M.device.type == "cpu"


def test_room_is_a_quarter_of_what_is_free(monkeypatch):
    source = MemorySource(torch.zeros(10, 1, 5, 5, dtype=torch.uint8), torch.zeros(10))
    device = torch.device("cuda")
    for free, room in [(1000, False), (1001, True)]:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**9))
        assert data_module.has_room(source, device) is room
    assert not data_module.has_room(source, torch.device("cpu"))


def test_refuses_images_of_another_shape(counting):
    with pytest.raises(UserError, match=r"train images are \(1, 2, 3\).*say \(3, 2, 3\): correct these"):
        counting(channels=3).setup("fit")


def test_images_without_labels_and_a_set_without_training_images_are_refused(counting):
    with pytest.raises(UserError, match="3 images and 2 targets: each image needs one target"):
        MemorySource(torch.zeros(3, 1, 5, 5, dtype=torch.uint8), torch.zeros(2))
    empty = counting()
    empty.sizes = {"test": 7}
    with pytest.raises(UserError, match=r"load\(.train.\) returned None, no training items"):
        empty.summary()


@pytest.mark.parametrize(("images", "labels"), [(torch.float32, torch.int64), (torch.uint8, torch.int32)])
def test_images_and_labels_of_another_type_are_refused(counting, images, labels):
    data = counting()
    source = MemorySource(torch.zeros(23, 1, 2, 3, dtype=images), torch.zeros(23, dtype=labels))
    data.load = lambda part: source
    with pytest.raises(UserError, match=r"the train (images|labels) are torch.+ give torch.(uint8|int64)"):
        data.source("train")


def test_a_warp_follows_the_crop_while_training_only(counting, trainer):
    model = Recorder()
    data = counting(crop_padding=1, warp=0.2)
    trainer(max_epochs=1).fit(model, data)
    for images, _, index in model.trained[0]:
        plain = index.to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 3)
        assert torch.equal(images, data.warp(data.augment(plain, index, 0), index, 0))
        assert not torch.equal(images, data.augment(plain, index, 0))
    for images, _, index in model.validated:
        assert torch.equal(images.long(), index[:, None, None, None].expand(images.shape))
