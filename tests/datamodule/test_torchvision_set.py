import hashlib
import os
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from tiny_mnist import write_mnist
from torchvision import datasets

from datamodule.torchvision_set import TorchvisionSet
from process.errors import UserError


@pytest.fixture
def mnist(tmp_path, settings, monkeypatch):
    """Write a tiny MNIST in its own format, and forbid network access."""

    def offline(*arguments, **settings):
        raise URLError("no route to host")

    monkeypatch.setattr(datasets.mnist, "download_and_extract_archive", offline)
    monkeypatch.setattr(datasets.cifar, "download_and_extract_archive", offline)
    write_mnist(tmp_path, train=12, test=6)
    facts = {"root": str(tmp_path), "num_classes": 10, "image_size": [28, 28]}
    return lambda name="MNIST", **changes: TorchvisionSet(name=name, **settings | facts | changes)


def test_mnist(mnist, tmp_path):
    data = mnist()
    data.prepare_data()
    data.setup("fit")
    source = data.source("train")
    stored = (tmp_path / "MNIST/raw/train-images-idx3-ubyte").read_bytes()[16:]
    assert source.images_NCHW.numpy().tobytes() == stored
    assert source.images_NCHW.shape == (12, 1, 28, 28)
    assert source.targets.tolist() == [*range(10), 0, 1]
    assert {"train": 7, "valid": 5, "test": 6}.items() <= data.summary().items()
    assert data.class_names[3].startswith("3")


@pytest.mark.parametrize(("name", "labels"), [("CIFAR10", "labels"), ("CIFAR100", "fine_labels")])
def test_cifar(mnist, tmp_path, monkeypatch, name, labels):
    dataset = getattr(datasets, name)
    folder = tmp_path / dataset.base_folder
    folder.mkdir()

    def write(file, content):
        (folder / file).write_bytes(pickle.dumps(content))
        return file, hashlib.md5((folder / file).read_bytes()).hexdigest()

    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    lists = {
        key: [
            write(file, {"data": pixels.reshape(6, -1), labels: [5, 4, 3, 2, 1, 0]})
            for file, _ in getattr(dataset, key)
        ]
        for key in ("train_list", "test_list")
    }
    meta = dict(dataset.meta)
    meta["md5"] = write(meta["filename"], {meta["key"]: list("abcdefghij")})[1]
    for key, value in {**lists, "meta": meta}.items():
        monkeypatch.setattr(dataset, key, value)

    data = mnist(name, channels=3, image_size=[32, 32], valid=2)
    data.prepare_data()
    assert torch.equal(data.source("test").images_NCHW, torch.from_numpy(pixels))
    assert data.source("test").targets.tolist() == [5, 4, 3, 2, 1, 0]
    assert len(data.source("train")) == 6 * len(lists["train_list"])
    assert data.class_names == list("abcdefghij")

    damaged = folder / lists["train_list"][0][0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(UserError, match=rf"^{damaged}: damaged: delete it, and the next run downloads it again$"):
        mnist(name, channels=3, image_size=[32, 32]).prepare_data()


@pytest.mark.parametrize("size", [0, 3, 10, 500])
@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_names_a_truncated_file(mnist, tmp_path, file, size):
    path = tmp_path / "MNIST" / "raw" / file
    content = path.read_bytes()
    path.write_bytes(content[: min(size, len(content) - 1)])
    with pytest.raises(UserError, match=rf"^{path}: damaged: delete it, and the next run downloads it again$"):
        mnist().prepare_data()


@pytest.mark.parametrize(("name", "folder"), [("FashionMNIST", "FashionMNIST/raw"), ("CIFAR10", "cifar-10-batches-py")])
def test_says_what_to_do_when_the_download_fails(mnist, tmp_path, name, folder):
    root = tmp_path / "mistyped" / "folder"
    with pytest.raises(UserError, match=r"use data=digits, which needs no download$") as caught:
        mnist(name, root=str(root)).prepare_data()
    assert not (tmp_path / "mistyped").exists()
    assert str(caught.value).startswith(f"{root / folder}: {name} is not there and cannot be downloaded (")
    assert "no route to host" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_construction_touches_nothing(mnist, tmp_path):
    mnist("CIFAR10", root=str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_real_mnist(settings):
    root = os.environ.get("DATASET")
    if root is None or not (Path(root) / "MNIST" / "raw" / "train-images-idx3-ubyte").exists():
        pytest.skip("no MNIST in the folder that DATASET names")
    data = TorchvisionSet(
        name="MNIST", root=root, **settings | {"num_classes": 10, "image_size": [28, 28], "valid": 5000}
    )
    data.prepare_data()
    assert {"train": 55000, "valid": 5000, "test": 10000}.items() <= data.summary().items()
    train = data.source("train")
    pixels = train.images_NCHW.float() / 255
    assert (round(pixels.mean().item(), 4), round(pixels.std().item(), 4)) == (0.1307, 0.3081)
    assert torch.bincount(train.targets).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]
