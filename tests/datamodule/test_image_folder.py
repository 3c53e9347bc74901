import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodule import image_folder
from datamodule.image_folder import ImageFolder
from datamodule.loader import MemorySource
from process.errors import UserError


@pytest.fixture
def root(tmp_path):
    """Write 10 + 5 training and 3 + 0 test images of two classes; the red channel of each is its number."""
    for number, name in enumerate(
        [f"train/cat/{i:02}.png" for i in range(10)]
        + [f"train/dog/{i:02}.png" for i in range(5)]
        + [f"test/dog/{i:02}.png" for i in range(3)]
    ):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (3, 4, 3), dtype=np.uint8)
        pixels[..., 0] = number
        Image.fromarray(pixels).save(path)
    return tmp_path / "data"


@pytest.fixture
def folder(settings):
    facts = {"num_classes": 2, "channels": 3, "image_size": [3, 4], "memory_limit_gib": 1}
    return lambda root, **changes: ImageFolder(root=str(root), **settings | facts | changes)


def zipped(root, top):
    path = root.parent / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in root.rglob("*.png"):
            archive.write(file, top + file.relative_to(root).as_posix())
    return path


def test_labels_and_order(root, folder):
    data = folder(root)
    train, test = data.source("train"), data.source("test")
    assert data.class_names == ["cat", "dog"]
    assert train.labels.tolist() == [0] * 10 + [1] * 5
    assert train.images_NCHW[:, 0, 0, 0].tolist() == list(range(15))
    assert test.labels.tolist() == [1] * 3  # the label of the same class in train, not its place in test
    assert {"train": 10, "valid": 5, "test": 3}.items() <= data.summary().items()


@pytest.mark.parametrize("top", ["", "animals/"])
def test_zip_holds_the_same(root, folder, top):
    one, other = folder(root), folder(zipped(root, top))
    for part in ("train", "test"):
        assert torch.equal(one.source(part).images_NCHW, other.source(part).images_NCHW)
        assert torch.equal(one.source(part).labels, other.source(part).labels)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("top", [None, "animals/"])
def test_decoding_on_demand_gives_the_same_batches(root, folder, workers, top):
    place = root if top is None else zipped(root, top)
    size = {"image_size": [2, 5]}
    memory, demand = folder(place, **size), folder(place, memory_limit_gib=0, num_workers=workers, **size)
    assert isinstance(memory.source("train"), MemorySource)
    assert not isinstance(demand.source("train"), MemorySource)
    for one, other in zip(memory.train_dataloader(), demand.train_dataloader(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_limit_is_the_size_in_memory(root, folder):
    size = 15 * 3 * 3 * 4 / 2**30
    assert isinstance(folder(root, memory_limit_gib=size).source("train"), MemorySource)
    assert not isinstance(folder(root, memory_limit_gib=size * 0.99).source("train"), MemorySource)


def test_workers_decode_the_same(root, folder, monkeypatch):
    alone = folder(root).source("train")
    monkeypatch.setattr(image_folder, "FEW", 0)
    monkeypatch.setattr(image_folder, "CHUNK", 100)
    assert torch.equal(folder(root).source("train").images_NCHW, alone.images_NCHW)


def test_an_open_archive_can_be_sent_to_a_worker(root, folder):
    source = folder(zipped(root, ""), memory_limit_gib=0).source("train")
    images = source.images(torch.tensor([3]))
    assert torch.equal(pickle.loads(pickle.dumps(source)).images(torch.tensor([3])), images)


def test_grey(root, folder):
    assert folder(root, channels=1).source("train").images_NCHW.shape == (15, 1, 3, 4)


@pytest.mark.parametrize("workers", [0, 2])
def test_names_a_damaged_image(root, folder, workers):
    damaged = root / "train" / "dog" / "02.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    words = rf"^{damaged}: cannot be read as an image \([^\n]*\): replace or remove it$"
    with pytest.raises(UserError, match=words):
        folder(root).source("train")
    with pytest.raises(UserError, match=words):
        list(folder(root, memory_limit_gib=0, num_workers=workers, valid=0).train_dataloader())


def test_refuses(root, folder):
    with pytest.raises(UserError, match=r"data.num_classes=3, but .*data has 2 in train/"):
        folder(root, num_classes=3).source("train")
    with pytest.raises(UserError, match=r"data.channels=2: choose 1"):
        folder(root, channels=2)
    with pytest.raises(UserError, match="nowhere: no such folder"):
        folder(Path("nowhere")).setup("fit")


@pytest.mark.parametrize("workers", [0, 2])
def test_levels_are_read_by_the_setting(root, folder, workers):
    path = root / "train" / "dog" / "02.png"
    Image.fromarray(np.full((3, 4), 1000, np.uint16)).save(path)
    assert (folder(root, white=4095).source("train").images_NCHW[12] == 62).all()
    with pytest.raises(UserError, match=rf"^{path}: 16 bits, but no level above 1000: set data.white=4095 if [^\n]*$"):
        list(folder(root, memory_limit_gib=0, num_workers=workers, valid=0).train_dataloader())


@pytest.mark.parametrize("top", [None, "", "animals/"])
def test_other_endings_are_read_and_turned_upright(root, folder, top):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((4, 3, 3), np.uint8)  # stored on its side
    pixels[0, 0] = 200  # the upper right corner of the upright image
    (root / "valid" / "dog").mkdir(parents=True)
    endings = ["tiff", "webp", "apng"]
    for ending in endings:
        settings = {"lossless": True} if ending == "webp" else {}
        kind = "png" if ending == "apng" else ending
        Image.fromarray(pixels).save(root / "valid" / "dog" / f"x.{ending}", format=kind, exif=exif, **settings)
    place = root
    if top is not None:
        place = root.parent / "data.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for file in root.rglob("*.*"):
                archive.write(file, (top + file.relative_to(root).as_posix()).replace("/", "\\"))
    images_NCHW = folder(place).source("valid").images_NCHW
    assert len(images_NCHW) == len(endings)
    for image_CHW in images_NCHW:
        assert image_CHW.nonzero().tolist() == [[channel, 0, 3] for channel in range(3)]


def warnings_of(caplog):
    return [record.levelname for record in caplog.records if record.levelname == "WARNING"]


def test_one_rank_warns_of_what_is_left_out(root, folder, caplog, monkeypatch):
    (root / "train" / "dog" / "x.heic").touch()
    monkeypatch.setenv("LOCAL_RANK", "1")
    folder(root).source("train")
    assert warnings_of(caplog) == []
    monkeypatch.setenv("LOCAL_RANK", "0")
    folder(root).source("train")
    assert warnings_of(caplog) == ["WARNING"]


def test_what_is_left_out_is_said_once(root, folder, caplog):
    (root / "train" / "dog" / "x.heic").touch()
    (root / "more").mkdir()
    data = folder(root)
    for part in ("train", "valid", "test", "train"):
        data.source(part)
    assert [record.getMessage().removeprefix(f"{root}: ") for record in caplog.records] == [
        "not used: more/ (only train/, valid/ and test/ are)",
        "train/: left out by their ending: 1 (.heic)",
    ]
