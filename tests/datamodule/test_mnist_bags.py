import json
import math
import os
from functools import partial
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from runs import record
from tasks import classification
from tiny_mnist import write_mnist
from torch import nn
from torchmetrics.classification import MulticlassAccuracy

from datamodule import data_module
from datamodule.loader import BagSource
from datamodule.mnist_bags import MNISTBags, draw_bags
from model import TaskModule
from set_module.set_batch import SetBatch

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")


@pytest.fixture
def bags(tmp_path, settings):
    """Build bags of a tiny MNIST: 30 training images, 20 test images."""
    write_mnist(tmp_path, train=30, test=20)
    facts = {"root": str(tmp_path), "num_classes": 2, "image_size": [28, 28], "valid": 0.2}
    drawn = {"target_digit": 9, "bag_size_mean": 4, "bag_size_std": 2, "train_bags": 25, "test_bags": 9}
    return lambda **changes: MNISTBags(**settings | facts | drawn | changes)


class DeepSet(nn.Module):
    """The smallest network of sets that depends on every pixel."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(28 * 28, 2)

    def forward(self, bags, index=None):
        logits = self.layer(bags.values.flatten(1).float() / 255)
        return logits.new_zeros(len(bags), 2).index_add(0, bags.index, logits)


def test_sizes_are_normal_rounded_and_at_least_one():
    sizes = draw_bags(1000, 100_000, mean=10, std=2, seed=0).lengths.double()
    assert float(sizes.mean()) == pytest.approx(10, abs=0.03)
    assert float(sizes.std()) == pytest.approx(math.sqrt(4 + 1 / 12), abs=0.03)  # 1/12: of rounding
    for size in (7, 10, 12):
        low, high = ((size + half - 10) / 2 for half in (-0.5, 0.5))
        share = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
        assert float((sizes == size).double().mean()) == pytest.approx(share, abs=0.005)
    small = draw_bags(1000, 1000, mean=1, std=3, seed=0).lengths
    assert small.min() == 1
    assert float((small == 1).double().mean()) == pytest.approx(0.566, abs=0.05)  # P(1 + 3 z < 1.5)
    assert set(draw_bags(1000, 50, mean=5, std=0, seed=0).lengths.tolist()) == {5}


def test_members_are_drawn_from_all_images_with_replacement():
    members = draw_bags(50, 10_000, mean=10, std=2, seed=0)
    counts = torch.bincount(members.values, minlength=50)
    assert len(counts) == 50
    expected = len(members.values) / 50
    assert (counts - expected).abs().max() < 5 * expected**0.5
    assert any(len(bag.unique()) < len(bag) for bag in members)


def test_bags_depend_on_the_seed_and_few_are_the_first_of_many():
    one, same, other = (draw_bags(1000, 20, 10, 2, seed) for seed in (0, 0, 1))
    assert torch.equal(one.values, same.values)
    assert not torch.equal(one.lengths, other.lengths)
    more = draw_bags(1000, 30, 10, 2, seed=0)
    assert torch.equal(more.lengths[:20], one.lengths)
    assert torch.equal(more.values[: len(one.values)], one.values)


@pytest.mark.parametrize("target", [0, 9])
def test_a_label_says_whether_the_digit_is_in_the_bag(bags, target):
    for part, num_digits in (("train", 30), ("test", 20)):
        source = bags(target_digit=target).source(part)
        digits = [[position % 10 for position in bag.tolist()] for bag in source.members]
        assert source.targets.tolist() == [int(target in bag) for bag in digits]
        assert 0 < sum(source.targets.tolist()) < len(source)
        assert len(source.images_NCHW) == num_digits
        is_target = bags(target_digit=target).instance_labels(part)
        assert [label_n.tolist() for label_n in is_target] == [[digit == target for digit in bag] for bag in digits]
    assert bags(target_digit=target).class_names == [f"without {target}", f"with {target}"]


def test_the_split_s_seed_draws_the_training_bags_and_the_test_bags_are_always_the_same(bags):
    one, order, other = (bags(seed=s, split_seed=t) for s, t in ((0, 0), (1, 0), (0, 1)))
    assert torch.equal(one.source("train").members.values, order.source("train").members.values)
    assert not torch.equal(one.source("train").members.lengths, other.source("train").members.lengths)
    assert torch.equal(one.source("test").members.values, other.source("test").members.values)
    assert {"train": 20, "valid": 5, "test": 9}.items() <= one.summary().items()
    assert {"train": 10, "valid": 5}.items() <= bags(limit_train=10).summary().items()


@pytest.mark.parametrize("index", [[3, 0, 3, 24], [7], list(range(25))])
def test_a_batch_is_what_a_loop_over_the_bags_picks(bags, index):
    source = bags().source("train")
    batch = source.inputs(torch.tensor(index))
    sets = [source.images_NCHW[source.members[i]] for i in index]
    expected = SetBatch.from_list(sets)
    assert batch.values.dtype == torch.uint8
    for name in ("values", "lengths", "index"):
        assert torch.equal(getattr(batch, name), getattr(expected, name)), name
    assert batch.max_len == expected.max_len


@pytest.mark.parametrize("workers", [0, 2])
def test_batches(bags, workers):
    data = bags(num_workers=workers)
    seen = []
    for loader in (data.train_dataloader(), data.val_dataloader()):
        for images, labels, index in loader:
            assert isinstance(images, SetBatch)
            assert torch.equal(images.values, data.source("train").inputs(index).values)
            assert torch.equal(labels, data.source("train").targets[index])
            assert labels.dtype == index.dtype == torch.int64
            assert len(images) == len(labels) == len(index)
            seen += index.tolist()
    assert sorted(seen) == list(range(25))
    assert [index.tolist() for _, _, index in data.test_dataloader()] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def fit(data, folder, **checkpoint):
    """Train two epochs of 5 steps, with a checkpoint in the middle of the second; return weights and test metrics."""
    torch.manual_seed(0)
    sgd = partial(torch.optim.SGD, momentum=0.9)
    metrics = {"accuracy": MulticlassAccuracy(2, average="micro")}
    model = TaskModule(DeepSet(), classification(metrics, num_classes=2), 0.01, sgd)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[ModelCheckpoint(folder, "{step}", every_n_train_steps=7, save_top_k=-1)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        log_every_n_steps=2,
    )
    trainer.fit(model, data, weights_only=True, **checkpoint)
    (tested,) = trainer.test(model, data, verbose=False)
    return model.network.layer.weight.detach(), tested


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("changes", [{}, {"mix": 3, "warp": 0.1, "crop_padding": 2}], ids=["plain", "mixed"])
def test_workers_and_a_resume_in_the_middle_of_an_epoch_change_nothing(bags, tmp_path, changes, workers):
    whole, tested = fit(bags(**changes), tmp_path)
    resumed, tested_again = fit(bags(**changes, num_workers=workers), tmp_path, ckpt_path=tmp_path / "step=7.ckpt")
    from_start, _ = fit(bags(**changes, num_workers=workers), tmp_path)
    assert torch.equal(whole, resumed)
    assert torch.equal(whole, from_start)
    assert tested == tested_again


def test_moves_to_a_device_with_room(bags, monkeypatch):
    data = bags()
    monkeypatch.setattr(type(data), "_device", torch.device("meta"))
    monkeypatch.setattr(data_module, "has_room", lambda source, device: True)
    source = data._part("train").source
    assert isinstance(source, BagSource)
    members = source.members
    tensors = (source.images_NCHW, source.targets, members.values, members.lengths, members.index)
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_the_images_of_a_bag_are_cropped_each_by_itself_whatever_the_batch(bags):
    data = bags(crop_padding=1)
    images_NCHW = torch.randint(1, 256, (1, 1, 28, 28), dtype=torch.uint8).expand(6, 1, 28, 28).contiguous()
    sets, index_B = SetBatch(images_NCHW, [4, 2]), torch.tensor([7, 8])
    whole = data.augmentation(sets, index_B, epoch=3)
    assert len({image.numpy().tobytes() for image in whole.values}) > 1
    alone = [data.augmentation(SetBatch(sets[i], [len(sets[i])]), index_B[i : i + 1], epoch=3) for i in range(2)]
    assert torch.equal(whole.values, torch.cat([one.values for one in alone]))
    assert not torch.equal(whole.values, data.augmentation(sets, index_B, epoch=4).values)


def test_the_images_of_a_bag_are_warped_each_by_itself_whatever_the_batch(bags):
    data = bags(warp=0.1, crop_padding=2)
    images_NCHW = torch.randint(1, 256, (1, 1, 28, 28), dtype=torch.uint8).expand(6, 1, 28, 28).contiguous()
    sets, index_B = SetBatch(images_NCHW, [4, 2]), torch.tensor([7, 8])
    whole = data.augmentation(sets, index_B, epoch=3)
    assert len({image.numpy().tobytes() for image in whole.values}) == 6
    number_N, index_N = torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([7, 7, 7, 7, 8, 8])
    cropped = data.augment(images_NCHW, index_N, 3, number_N)
    assert torch.equal(whole.values, data.warp(cropped, index_N, 3, number_N))
    alone = data.augmentation(SetBatch(sets[1], [2]), index_B[1:], epoch=3)
    assert torch.equal(alone.values, whole[1])


def test_train_and_evaluate(train, command, tmp_path, monkeypatch):
    write_mnist(tmp_path, train=30, test=20)
    monkeypatch.setenv("DATASET", str(tmp_path))
    small = ("data.bag_size_mean=4", "data.train_bags=60", "data.test_bags=40")
    folder = train("data=MNIST_bags", "model=attention_mil", *small, "hparams.max_epochs=2", "loggers=none")
    run = record(folder)
    assert (run["data"]["train"], run["data"]["valid"], run["data"]["test"]) == (48, 12, 40)
    assert command("evaluate", f"run={folder}", "hparams.batch_size=7", "data.num_workers=2") == 0
    result = json.loads((folder / "evaluation.json").read_text())
    for name in ("test_auroc", "test_accuracy", "test_loss"):
        assert result[name] == pytest.approx(run["metrics"][name], abs=1e-5), name
    assert 0 <= result["test_weights_auroc"] <= 1
    assert 0 <= result["test_weights_top1"] <= 1
    assert list(result["per_class"]) == ["test_accuracy/class=without 9", "test_accuracy/class=with 9"]
    assert list(result["sizes"]) == ["test_accuracy/n=1", "test_auroc/n=1"]  # the smallest bag has fewer than 4 images


def test_real_mnist(settings):
    root = os.environ.get("DATASET")
    if root is None or not (Path(root) / "MNIST" / "raw" / "train-images-idx3-ubyte").exists():
        pytest.skip("no MNIST in the folder that DATASET names")
    drawn = {"target_digit": 9, "bag_size_mean": 10, "bag_size_std": 2, "train_bags": 10_000, "test_bags": 1000}
    data = MNISTBags(root=root, **settings | drawn | {"num_classes": 2, "image_size": [28, 28]})
    data.prepare_data()
    train, test = data.source("train"), data.source("test")
    expected = 1 - (1 - 5949 / 60_000) ** train.members.lengths.double()  # MNIST holds 5949 nines
    assert float(train.targets.double().mean()) == pytest.approx(float(expected.mean()), abs=0.015)
    assert test.targets.sum() == 643
