import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from runs import REPOSITORY

from datamodule import image_folder
from datamodule.decode import MAX_MEGAPIXELS
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
    assert train.targets.tolist() == [0] * 10 + [1] * 5
    assert train.images_NCHW[:, 0, 0, 0].tolist() == list(range(15))
    assert test.targets.tolist() == [1] * 3  # the label of the same class in train, not its place in test
    assert {"train": 10, "valid": 5, "test": 3}.items() <= data.summary().items()


@pytest.mark.parametrize("top", ["", "animals/"])
def test_zip_holds_the_same(root, folder, top):
    one, other = folder(root), folder(zipped(root, top))
    for part in ("train", "test"):
        assert torch.equal(one.source(part).images_NCHW, other.source(part).images_NCHW)
        assert torch.equal(one.source(part).targets, other.source(part).targets)


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
    images = source.inputs(torch.tensor([3]))
    assert torch.equal(pickle.loads(pickle.dumps(source)).inputs(torch.tensor([3])), images)


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


def save_large(path):
    """Save a PNG of 60,000 pixels."""
    Image.new("1", (300, 200)).save(path, format="png")


@pytest.mark.parametrize("top", [None, "animals/"])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_above_the_limit_is_named(root, folder, top, workers):
    save_large(root / "train" / "dog" / "02.png")
    place = root if top is None else zipped(root, top)
    options = {"num_workers": workers, "memory_limit_gib": 0, "valid": 0}
    words = (
        r"dog/02.png: 60,000 pixels are more than data.max_megapixels=0.05 allows: reduce the image, or set "
        r"data.max_megapixels=1 if memory suffices for it$"
    )
    with pytest.raises(UserError, match=words) as caught:
        list(folder(place, max_megapixels=0.05, **options).train_dataloader())
    assert "\n" not in str(caught.value)
    assert len(list(folder(place, max_megapixels=0.06, **options).train_dataloader())) > 0
    assert len(list(folder(place, **options).train_dataloader())) > 0


@pytest.mark.parametrize("top", [None, "animals/"])
def test_a_file_larger_than_any_image_of_the_limit_is_not_read(root, folder, top):
    path = root / "train" / "dog" / "02.png"
    with path.open("wb") as file:
        file.truncate(2**26 + 30_001)  # a hole, which takes no room on the disk
    place = root if top is None else zipped(root, top)
    words = r"02.png: 67,138,865 bytes are more than data.max_megapixels=0.01 allows: reduce the image, or set"
    with pytest.raises(UserError, match=words):
        folder(place, max_megapixels=0.01).source("train")
    with pytest.raises(UserError, match=r"02.png: cannot be read as an image \(cannot identify image file\)"):
        folder(place, max_megapixels=0.02).source("train")


def test_no_file_of_three_gibibytes_is_read_by_default(root, folder):
    with (root / "train" / "dog" / "02.png").open("wb") as file:
        file.truncate(3 * 2**30)
    with pytest.raises(UserError, match=r"3,221,225,472 bytes .* set data.max_megapixels=1052 if memory suffices"):
        folder(root).source("train")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to measure memory")
def test_a_zip_entry_is_not_decompressed_further_than_it_states(root, folder):
    size, stated = 2**28 + 12_345, 1000
    path = root / "train" / "dog" / "02.png"
    with path.open("wb") as file:
        file.truncate(size)  # a hole
    place = root.parent / "data.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*.png")):
            archive.write(file, file.relative_to(root).as_posix())
    data = place.read_bytes()
    assert data.count(struct.pack("<I", size)) == 2
    place.write_bytes(data.replace(struct.pack("<I", size), struct.pack("<I", stated)))
    del data
    status = Path("/proc/self/status")
    Path("/proc/self/clear_refs").write_text("5")  # restarts the peak
    before = int(re.findall(r"VmRSS:\s+(\d+)", status.read_text())[0])
    with pytest.raises(UserError, match=r"02.png: cannot be read as an image \(Bad CRC-32"):
        folder(place).source("train")
    assert int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) - before < 2**15  # KiB


def test_the_default_limit_is_said_in_yaml():
    data = OmegaConf.load(REPOSITORY / "config" / "data" / "image_folder.yaml")
    files = OmegaConf.load(REPOSITORY / "config" / "predict.yaml").files
    assert data.max_megapixels == MAX_MEGAPIXELS
    assert OmegaConf.create({"files": files, "data": {}}).files.max_megapixels == MAX_MEGAPIXELS  # an older run
    assert OmegaConf.create({"files": files, "data": {"max_megapixels": 7}}).files.max_megapixels == 7


def test_limit_train_decodes_only_what_is_used(root, folder, count):
    for settings in ({"valid": 5}, {"fold": 1, "num_folds": 3}):
        count.clear()
        limited, whole = folder(root, limit_train=2, **settings), folder(root, **settings)
        batches = [next(iter(limited.train_dataloader())), next(iter(limited.val_dataloader()))]
        assert sum(count.values()) == 2 + 5
        for images, labels, index in batches:
            assert torch.equal(images, whole.source("train").images_NCHW[index])
            assert torch.equal(labels, whole.source("train").targets[index])
        assert limited.summary()["split_hash"] == whole.summary()["split_hash"]
        assert limited.summary()["train"] == 2


def test_what_is_left_out_by_limit_train_cannot_be_read(root, folder):
    source = folder(root, limit_train=2, valid=3).source("train")
    absent = sorted(set(range(15)) - set(source.position_R.tolist()))
    with pytest.raises(IndexError):
        source.inputs(torch.tensor(absent[:1]))
    moved = source.to(torch.device("cpu"))
    assert torch.equal(moved.inputs(source.position_R), source.inputs(source.position_R))


def test_limit_train_counts_for_the_limit_of_memory(root, folder):
    gib = 5 * 3 * 3 * 4 / 2**30
    assert isinstance(
        folder(root, limit_train=2, valid=3, memory_limit_gib=gib).source("train").images_NCHW, torch.Tensor
    )
    assert not hasattr(folder(root, limit_train=3, valid=3, memory_limit_gib=gib).source("train"), "images_NCHW")


def test_a_limit_that_is_too_large_is_refused_before_anything_is_decoded(root, folder, count):
    with pytest.raises(UserError, match=r"data.limit_train=13: choose 1 to 12"):
        folder(root, limit_train=13, valid=3).source("train")
    assert not count
