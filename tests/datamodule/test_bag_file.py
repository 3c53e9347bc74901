"""Every format gives the rows that were written, and every damage is named."""

import h5py
import numpy as np
import pytest
import torch
from bags import features_of, write_bag

from datamodule import bag_file
from datamodule.bag_file import ENDINGS, BagFile, UnusableFileError, find_files
from process.errors import UserError

ROWS = torch.tensor([0, 3, 4, 5, 11, 36])


def read(file, rows=None, dtype=torch.float32):
    out = torch.full((file.length if rows is None else len(rows), file.width), torch.nan, dtype=dtype)
    file.read_into(out, rows)
    return out


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("ending", ENDINGS)
def test_all_rows_and_some_rows_with_their_places_and_labels(tmp_path, ending, dtype):
    features, coords, labels = features_of(7, 37, 5, dtype), np.arange(74).reshape(37, 2), np.arange(37) % 3
    write_bag(tmp_path / "features" / f"a.b{ending}", features, coords=coords, instance_labels=labels)
    (file,) = find_files(tmp_path, ["a.b"])
    assert (file.problem, file.length, file.width, file.dtype) == (None, 37, 5, np.dtype(dtype).name)
    for out in (torch.float16, torch.float32):
        expected = torch.from_numpy(features).to(out)
        assert torch.equal(read(file, dtype=out), expected)
        assert torch.equal(read(file, ROWS, out), expected[ROWS])
    assert torch.equal(file.coords(), torch.from_numpy(coords))
    assert torch.equal(file.instance_labels(), torch.from_numpy(labels))


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_places_there_are_none(tmp_path, ending):
    write_bag(tmp_path / f"a{ending}", features_of(0, 3, 2))
    (file,) = find_files(tmp_path, ["a"])
    assert (file.problem, file.coords(), file.instance_labels()) == (None, None, None)


@pytest.mark.parametrize(
    "storage",
    [
        {},
        {"chunks": (1, 5), "maxshape": (None, 5)},
        {"chunks": (8, 2), "compression": "gzip"},
        {"chunks": (64, 5), "maxshape": (None, 5)},
    ],
    ids=["in one piece", "row by row", "compressed", "larger than the bag"],
)
def test_any_storage_of_hdf5(tmp_path, storage, monkeypatch):
    monkeypatch.setattr(bag_file, "BLOCK", 16)
    features = features_of(1, 37, 5)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("features", data=features, **storage)
    bag = BagFile("a", tmp_path / "a.h5", {})
    assert (bag.offset is None) == bool(storage)
    assert torch.equal(read(bag), torch.from_numpy(features))
    assert torch.equal(read(bag, ROWS), torch.from_numpy(features)[ROWS])


def test_other_orders_and_a_tensor_alone(tmp_path):
    features = features_of(1, 37, 5)
    np.save(tmp_path / "a.npy", np.asfortranarray(features))
    torch.save(torch.from_numpy(features).to(torch.bfloat16), tmp_path / "b.pt")
    transposed, tensor = find_files(tmp_path, ["a", "b"])
    assert transposed.offset is None
    assert torch.equal(read(transposed), torch.from_numpy(features))
    assert torch.equal(read(tensor, ROWS), torch.from_numpy(features)[ROWS].bfloat16().float())


def test_rows_of_a_large_bag_leave_the_others_on_the_disk(tmp_path):
    """A sparse file of 80 GB: nobody has the memory to read all of it."""
    count, width = 2 * 10**7, 1024
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, width)}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.truncate(start + 4 * count * width)
        file.seek(start + 4 * width * (count - 1))
        file.write(np.arange(width, dtype=np.float32).tobytes())
    found = read(BagFile("a", path, {}), torch.tensor([5, count - 1]))
    assert torch.equal(found, torch.stack([torch.zeros(width), torch.arange(width).float()]))


def damaged(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def pickled(path):
    torch.save({"features": torch.zeros(2, 2), "model": torch.nn.Linear(1, 1)}, path)


WRONG = {
    "half.npy": (damaged, "cannot be read as .npy (mmap length is greater than file size"),
    "half.pt": (damaged, "not a .pt as torch.save writes it today, but damaged"),
    "half.h5": (damaged, "cannot be read as .h5 ("),
    "half.safetensors": (damaged, "cannot be read as .safetensors ("),
    "flat.npy": (lambda path: np.save(path, np.zeros(3, np.float32)), "not [n, F] but of the shape [3]"),
    "whole.npy": (lambda path: np.save(path, np.zeros((3, 2), np.int64)), "int64, not float16 or float32"),
    "none.npy": (lambda path: np.save(path, np.zeros((0, 2), np.float32)), "empty"),
    "objects.npy": (lambda path: np.save(path, np.array([{}]), allow_pickle=True), "cannot be read as .npy ("),
    "objects.pt": (pickled, "objects besides tensors, which could run code"),
    "old.pt": (
        lambda path: torch.save(torch.zeros(2, 2), path, _use_new_zipfile_serialization=False),
        "not a .pt as torch.save writes it today, but damaged or in an old format",
    ),
    "other.h5": (
        lambda path: h5py.File(path, "w").update({"a": [[1.0]], "b": [[1.0]]}),
        "no array named features, but a, b",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_cannot_be_used_says_why(tmp_path, name):
    spoil, words = WRONG[name]
    path = write_bag(tmp_path / name, features_of(0, 300, 4))
    spoil(path)
    assert BagFile("a", path, {}).problem.startswith(words)


def test_places_and_labels_of_another_number_of_elements(tmp_path):
    write_bag(tmp_path / "features" / "a.npy", features_of(0, 3, 2), coords=np.zeros((4, 2)))
    write_bag(tmp_path / "features" / "b.h5", features_of(0, 3, 2), instance_labels=np.zeros(2))
    problems = [file.problem for file in find_files(tmp_path, ["a", "b"])]
    assert problems == [
        "coords of the wrong shape ([4, 2], not [3, 2])",
        "instance_labels of the wrong shape ([2], not [3])",
    ]


def test_no_file_and_two_files(tmp_path):
    for ending in (".npy", ".pt"):
        write_bag(tmp_path / f"b{ending}", features_of(0, 3, 2))
    missing, several = (file.problem for file in find_files(tmp_path, ["a", "b"]))
    assert missing == f"missing in {tmp_path} (.npy .pt .h5 .safetensors)"
    assert several == "several files, keep one (b.npy, b.pt)"


@pytest.mark.parametrize("rows", [None, torch.tensor([0, 2])])
def test_a_file_that_changes_during_the_training_is_refused(tmp_path, rows):
    path = write_bag(tmp_path / "a.npy", features_of(0, 3, 2))
    file = BagFile("a", path, {})
    np.save(path, features_of(0, 2, 2))
    with pytest.raises(UnusableFileError, match="changed since the start"):
        read(file, rows)


@pytest.mark.parametrize("name", ["h5py", "safetensors"])
def test_a_library_that_is_not_installed_is_named(tmp_path, name, monkeypatch):
    path = write_bag(tmp_path / {"h5py": "a.h5", "safetensors": "a.safetensors"}[name], features_of(0, 3, 2))
    monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(UserError, match=f"^{name} is not installed, which these bags need: uv pip install {name}$"):
        read(BagFile("a", path, {}))
