import pickle

import numpy as np
import pytest
from PIL import Image

from datamodule.files import Files, find
from run.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """b/0.png, b/1.jpg (broken), a.PNG, .hidden/2.png, notes.txt; the working directory."""
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    for number, name in enumerate(["b/0.png", "a.PNG", ".hidden/2.png"]):
        Image.fromarray(np.full((4, 5), number, np.uint8)).save(tmp_path / name)
    (tmp_path / "b" / "1.jpg").write_bytes(b"not an image")
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (".", ["a.PNG", "b/0.png", "b/1.jpg"]),
        ("b", ["b/0.png", "b/1.jpg"]),
        ("b/", ["b/0.png", "b/1.jpg"]),
        ("a.PNG", ["a.PNG"]),
        ("notes.txt", ["notes.txt"]),  # whoever names a file means it
        ("*", ["a.PNG", "notes.txt"]),
        ("**/*.[pP]*", ["a.PNG", "b/0.png"]),
    ],
)
def test_what_a_name_stands_for(folder, pattern, names):
    for given, expected in ((pattern, names), (f"{folder}/{pattern}", [f"{folder}/{name}" for name in names])):
        root, found = find(given)
        assert [str(root / name) for name in found] == expected


def test_a_name_with_brackets_is_a_name_first(folder):
    (folder / "[b]").mkdir()
    (folder / "b").rename(folder / "[b]" / "c")
    assert len(find("[b]")[1]) == 2


def test_follows_links_but_not_in_circles(folder):
    (folder / "c").mkdir()
    (folder / "c" / "linked").symlink_to("../b")
    (folder / "c" / "back").symlink_to("..")
    assert find("c")[1] == ["linked/0.png", "linked/1.jpg"] == [name.removeprefix("./") for name in find("c")[1]]


def test_batches_hold_what_is_readable(folder):
    files = Files(".", channels=3, image_size=[2, 2], batch_size=2, num_workers=None)
    for each in (files, pickle.loads(pickle.dumps(files))):
        batches = list(each.loader())
        assert [images.shape for images, _, _ in batches] == [(2, 3, 2, 2), (0, 3, 2, 2)]
        assert [index.tolist() for _, index, _ in batches] == [[0, 1], []]
        assert batches[0][0][:, 0, 0, 0].tolist() == [1, 0]
        assert batches[0][2] == {}
        assert batches[1][2][2].startswith("b/1.jpg: cannot be read as an image")


def test_refuses_what_no_file_can_be_read_as(folder):
    with pytest.raises(UserError, match="takes 4 channels"):
        Files(".", channels=4, image_size=[2, 2], batch_size=2, num_workers=None)
