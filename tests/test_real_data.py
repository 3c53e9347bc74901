"""The main job on the real data, where DATASET points at it."""

import pytest
from runs import real_data, record

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_mnist(train, monkeypatch):
    root = real_data("MNIST/raw").parents[1].absolute()
    monkeypatch.setenv("DATASET", str(root))
    run = record(train("data=MNIST", "model=cnn", "hparams.max_epochs=1", "data.limit_train=10000", "loggers=none"))
    assert (run["data"]["train"], run["data"]["valid"], run["data"]["test"]) == (10000, 5000, 10000)
    assert run["metrics"]["test_accuracy"] > 0.9


def test_mnist_patches(train, monkeypatch):
    root = real_data("MNIST/raw").parents[1].absolute()
    monkeypatch.setenv("DATASET", str(root))
    short = ("hparams.max_epochs=1", "data.limit_train=10000", "hparams.patch_num_min=16", "loggers=none")
    metrics = record(train(*short, "data.valid=500"))["metrics"]
    assert metrics["test_accuracy/n=16"] > 0.85 > metrics["test_accuracy/n=1"]


def test_cifar10_as_an_image_folder(train):
    root = real_data("cifar10-jpg").absolute()
    short = ("hparams.max_epochs=1", "data.limit_train=5000", "data.valid=1000", "loggers=none")
    run = record(train("experiment=cifar10_lenet", f"data.root={root}", *short))
    assert run["data"]["test"] == 10000
    assert run["metrics"]["test_accuracy"] > 0.25
