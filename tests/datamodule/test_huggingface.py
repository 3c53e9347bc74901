"""Tables of images that the library `datasets` has written: parts, labels, decoding, and what is refused."""

import io
import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from datamodule.arrow_tables import count_classes, open_tables
from datamodule.huggingface import HuggingFaceImages
from datamodule.loader import MemorySource
from process.errors import UserError

datasets = pytest.importorskip("datasets", reason="the extra huggingface is not installed")


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path, monkeypatch):
    """Let no test write into the user's cache, nor ask the Hub."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_CACHE_HOME", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def pixels(number):
    found = np.random.default_rng(number).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    found[..., 0] = number
    return found


def encoded(number, **other):
    file = io.BytesIO()
    Image.fromarray(pixels(number)).save(file, "png")
    return {"bytes": file.getvalue(), "path": None} | other


def table(numbers, labels, names=("cat", "dog"), **columns):
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))}
    features |= {name: datasets.ClassLabel(names=["x", "y"]) for name in columns}
    values = {"image": [encoded(number) for number in numbers], "label": labels, **columns}
    return datasets.Dataset.from_dict(values, features=datasets.Features(features))


TRAIN = table(range(15), [number % 2 for number in range(15)])
TEST = table(range(20, 23), [1, 1, 0])


def saved(root, **parts):
    datasets.DatasetDict(parts).save_to_disk(str(root))
    return root


@pytest.fixture
def root(tmp_path):
    return saved(tmp_path / "data", train=TRAIN, test=TEST)


@pytest.fixture
def images(settings):
    facts = {"num_classes": 2, "channels": 3, "image_size": [3, 4], "memory_limit_gib": 1}
    return lambda root, **changes: HuggingFaceImages(path=str(root), **settings | facts | changes)


def parquet(tmp_path):
    for part, rows in (("train", TRAIN), ("test", TEST)):
        rows.to_parquet(tmp_path / "files" / f"{part}-00000-of-00001.parquet")
    return tmp_path / "files"


def folders(tmp_path):
    for part, rows in (("train", TRAIN), ("test", TEST)):
        for place, row in enumerate(rows):
            path = tmp_path / "folders" / part / ("cat", "dog")[row["label"]] / f"{place:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            row["image"].save(path)
    return tmp_path / "folders"


def one_table(tmp_path):
    TRAIN.save_to_disk(str(tmp_path / "one"))
    return tmp_path / "one"


def test_labels_pixels_and_parts(root, images):
    data = images(root)
    train, test = data.source("train"), data.source("test")
    assert data.class_names == ["cat", "dog"]
    assert train.targets.tolist() == [number % 2 for number in range(15)]
    assert test.targets.tolist() == [1, 1, 0]
    assert torch.equal(train.images_NCHW[7], torch.from_numpy(pixels(7)).permute(2, 0, 1))
    assert {"train": 10, "valid": 5, "test": 3}.items() <= data.summary().items()


@pytest.mark.parametrize("write", [parquet, folders, one_table])
def test_other_kinds_of_folders_hold_the_same(tmp_path, root, images, write):
    place = write(tmp_path)
    assert count_classes(str(place), None, None, None) == 2
    one, other = images(root), images(place)
    assert other.class_names == ["cat", "dog"]
    for part in ("train",) if write is one_table else ("train", "test"):
        seen = [(int(image[0, 0, 0]), int(label)) for image, label in pairs(other.source(part))]
        assert sorted(seen) == sorted((int(image[0, 0, 0]), int(label)) for image, label in pairs(one.source(part)))


def pairs(source):
    return zip(source.images_NCHW, source.targets, strict=True)


def test_the_classes_of_a_saved_folder_are_counted_without_the_library(root, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    assert count_classes(str(root), None, None, None) == 2
    with pytest.raises(UserError, match="datasets is not installed, which data=huggingface needs"):
        open_tables(str(root), None, None)


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_that_are_read_on_demand_give_the_same_batches(root, images, workers):
    size = {"image_size": [2, 5]}
    memory, demand = images(root, **size), images(root, memory_limit_gib=0, num_workers=workers, **size)
    assert isinstance(memory.source("train"), MemorySource)
    assert not isinstance(demand.source("train"), MemorySource)
    for one, other in zip(memory.train_dataloader(), demand.train_dataloader(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_table_is_memory_mapped_and_can_be_sent_to_a_worker(root, images):
    before = datasets.table.pa.total_allocated_bytes()
    source = images(root, memory_limit_gib=0).source("train")
    kept = [file["filename"] for file in source.table.cache_files]
    assert kept
    assert all(name.startswith(str(root)) for name in kept)
    assert datasets.table.pa.total_allocated_bytes() - before < 10_000, "labels alone"
    again = pickle.loads(pickle.dumps(source))
    index_B = torch.tensor([3, 14, 3])
    assert torch.equal(again.inputs(index_B), source.inputs(index_B))
    assert again.inputs(index_B)[:, 0, 0, 0].tolist() == [3, 14, 3]


def test_a_selection_of_rows_keeps_its_order(tmp_path, images):
    root = saved(tmp_path / "data", train=TRAIN.select([9, 2, 11]))
    source = images(root, valid=0).source("train")
    assert source.images_NCHW[:, 0, 0, 0].tolist() == [9, 2, 11]
    assert source.targets.tolist() == [1, 0, 1]


def test_a_split_for_validation_is_used_as_such(tmp_path, images):
    data = images(saved(tmp_path / "data", train=TRAIN, validation=TEST))
    assert {"train": 15, "valid": 3, "test": 0}.items() <= data.summary().items()


def test_a_test_without_labels_is_left_out_with_a_line(tmp_path, images, caplog):
    hidden = table([1, 2], [-1, -1])
    data = images(saved(tmp_path / "data", train=TRAIN, test=hidden, valid=TEST.remove_columns("label")))
    with caplog.at_level("WARNING"):
        assert data.source("test") is data.source("valid") is None
    assert [record.message.partition("data: ")[2] for record in caplog.records] == [
        "test: it has no labels, and is left out",
        "valid: it has no labels, and is left out",
    ]


def two_columns(root):
    return saved(root, train=table(range(4), [0, 1, 0, 1], fine=[0, 0, 1, 1]))


def test_of_several_columns_of_labels_one_is_chosen(tmp_path, images):
    place = two_columns(tmp_path / "data")
    with pytest.raises(UserError, match=r"several columns of labels: choose data.label_column=label, or fine$"):
        count_classes(str(place), None, None, None)
    source = images(place, label_column="fine", valid=0).source("train")
    assert source.targets.tolist() == [0, 0, 1, 1]


def plain_labels(root):
    return saved(root, train=TRAIN.cast_column("label", datasets.Value("int64")))


def plain_parquet(root):
    from pyarrow import parquet, table

    root.mkdir()
    parquet.write_table(table({"image": [b"", b""], "label": [0, 1]}), root / "train.parquet")
    return root


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (
            plain_labels,
            r"data has no such column of labels \(ClassLabel\), its columns are image \(Image\), label \(Val",
        ),
        (
            plain_parquet,
            r"its columns are image \(binary\), label \(int64\); class_encode_column\('COLUMN'\) of the lib",
        ),
        (
            lambda root: root.mkdir() or root,
            r"data.path=.*data: cannot be opened \(.*\): name a folder that save_to_disk",
        ),
        (lambda root: root, r"data.path=.*data: no such folder: name a folder that save_to_disk has written"),
        (
            lambda root: "owner/name",
            r"data.path=owner/name: no such folder, and no data set of the Hub that can be had",
        ),
        (lambda root: "https://example.com/x", r"data.path=https://example.com/x: no such folder"),
    ],
)
def test_what_has_no_classes_is_refused_in_one_line(tmp_path, write, words):
    with pytest.raises(UserError, match=words) as raised:
        count_classes(str(write(tmp_path / "data")), None, None, None)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"training": TRAIN}, "data: no split train, but training: rename one of them"),
        ({"train": TRAIN, "val": TEST, "validation": TEST}, "several splits for data of valid, such as validation"),
        ({"train": table([1, 2, 3], [0, -1, 1])}, "train: 1 of 3 rows have no label: leave them out by `filter`"),
        ({"train": TRAIN, "test": table([1], [0], ["dog", "cat"])}, "test: its classes, dog, cat, are not those of tr"),
        (
            {"train": TRAIN.remove_columns("image")},
            r"data has no such column of images \(Image\), its columns are label",
        ),
        ({"train": table([1, 2, 3], [0, 1, 2], "abc")}, "data.num_classes=2, but .*data has 3: correct it"),
    ],
)
def test_parts_that_cannot_be_used_are_named(tmp_path, images, parts, words):
    data = images(saved(tmp_path / "data", **parts), valid=0)
    with pytest.raises(UserError, match=words):
        data.setup("fit") or data.source("test")


def stranger(root, cell):
    """Write a table whose second image is any cell; the library would have put the images into the table."""
    import pyarrow as pa

    plain = datasets.Features({"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}})
    rows = datasets.Dataset.from_dict({"image": [encoded(0), cell]}, features=plain).add_column("label", [0, 1])
    rows.save_to_disk(str(root))
    features = TRAIN.features.to_dict()
    info = json.loads((root / "dataset_info.json").read_text())
    (root / "dataset_info.json").write_text(json.dumps(info | {"features": features}))
    (path,) = root.glob("*.arrow")
    with path.open("rb") as file:
        cells = pa.ipc.open_stream(file).read_all()
    cells = cells.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    with pa.ipc.new_stream(str(path), cells.schema) as writer:
        writer.write_table(cells)
    return root


BROKEN = {"bytes": b"GIF89a, but no image", "path": None}


@pytest.mark.parametrize(
    ("cell", "changes", "words"),
    [
        (BROKEN, {}, r"cannot be read as an image \(.*\): replace or remove"),
        ({"bytes": None, "path": None}, {}, r"cannot be read as an image \(no image\)"),
        (None, {}, r"cannot be read as an image \(no image\)"),
        ({"bytes": None, "path": "/etc/passwd"}, {}, r".*\(its path, /etc/passwd, leads out of .*data\)"),
        ({"bytes": None, "path": "../secret.png"}, {}, r".*\(its path, \.\./secret\.png, leads out of .*data\)"),
        ({"bytes": None, "path": "https://a.org/x.png"}, {}, r".*\(no file .*/data/https:/a\.org/x\.png\)"),
        (encoded(1), {"max_megapixels": 1e-5}, r"12 pixels are more than data.max_megapixels=1e-05 allows"),
        ({"bytes": b"x" * 1000, "path": None}, {"max_megapixels": 1e-9}, r"1,000 bytes are more than data.max_megap"),
    ],
)
def test_an_image_that_cannot_be_used_is_named(tmp_path, images, monkeypatch, cell, changes, words):
    monkeypatch.setattr("datamodule.image_folder.SLACK", 500)
    (tmp_path / "secret.png").write_bytes(encoded(1)["bytes"])
    root = stranger(tmp_path / "data", cell)
    source = images(root, memory_limit_gib=0, **changes).source("train")
    with pytest.raises(UserError, match=rf"^{root}: train\[1\]: {words}") as raised:
        source.image(1)
    assert "\n" not in str(raised.value)


def test_a_worker_names_an_image_that_cannot_be_used(tmp_path, images):
    root = stranger(tmp_path / "data", BROKEN)
    with pytest.raises(UserError, match=rf"^{root}: train\[1\]: cannot be read"):
        list(images(root, memory_limit_gib=0, num_workers=2, valid=0).train_dataloader())
