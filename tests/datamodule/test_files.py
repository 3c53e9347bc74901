import errno
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image
from runs import REPOSITORY

from datamodule.files import Files, find
from process.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Write b/0.png, b/1.jpg (broken), a.PNG, .hidden/2.png and notes.txt into the working directory."""
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
        root, found, _ = find(given, print)
        assert [str(root / name) for name in found] == expected


def test_a_name_with_brackets_is_a_name_first(folder):
    (folder / "[b]").mkdir()
    (folder / "b").rename(folder / "[b]" / "c")
    assert len(find("[b]", print)[1]) == 2


def test_follows_links_but_not_in_circles(folder):
    (folder / "c").mkdir()
    (folder / "c" / "linked").symlink_to("../b")
    (folder / "c" / "back").symlink_to("..")
    assert (
        find("c", print)[1]
        == ["linked/0.png", "linked/1.jpg"]
        == [name.removeprefix("./") for name in find("c", print)[1]]
    )


def test_a_folder_that_may_not_be_opened_is_told(folder, monkeypatch):
    scandir = os.scandir

    def closed(path):
        if Path(path).name == "b":  # root may open every folder
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    files = Files(".", channels=3, image_size=[2, 2], batch_size=2, num_workers=None)
    assert files.names == ["a.PNG"]
    assert files.others[0] == "./b: Permission denied: its images are left out"
    with pytest.raises(UserError, match=r"input=b: b: Permission denied"):
        Files("b", channels=3, image_size=[2, 2], batch_size=2, num_workers=None)


def test_a_pipe_is_no_image(folder):
    os.mkfifo(folder / "pipe.png")
    (folder / "nothing.png").symlink_to("absent")
    files = Files(".", channels=3, image_size=[2, 2], batch_size=9, num_workers=None)
    ((_, _, unreadable),) = files.loader()
    assert [line for line in unreadable.values() if "(no file)" in line] == [
        f"{name}.png: cannot be read as an image (no file): replace or remove it" for name in ("nothing", "pipe")
    ]


def test_batches_hold_what_is_readable(folder):
    files = Files(".", channels=3, image_size=[2, 2], batch_size=2, num_workers=None)
    for each in (files, pickle.loads(pickle.dumps(files))):
        batches = list(each.loader())
        assert [images.shape for images, _, _ in batches] == [(2, 3, 2, 2), (0, 3, 2, 2)]
        assert [index.tolist() for _, index, _ in batches] == [[0, 1], []]
        assert batches[0][0][:, 0, 0, 0].tolist() == [1, 0]
        assert batches[0][2] == {}
        assert batches[1][2][2].startswith("b/1.jpg: cannot be read as an image")


def test_what_is_left_out_for_its_ending_is_counted(folder):
    def others(given):
        return Files(given, channels=3, image_size=[2, 2], batch_size=2, num_workers=None).others

    assert others("b") == others("*") == others("notes.txt") == []
    for name in ("x.heic", "b/y.HEIC", ".hidden/z.heic", ".z.heic", "README"):
        (folder / name).touch()
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.mkdir("b")
        for name in ("a.PNG", "x.heic", "b/y.HEIC", ".hidden/z.heic", "notes.txt", "README"):
            archive.write(name)
    line = "left out by their ending: 4 (.heic .txt none); a pattern such as 'photos/*.dat' takes them"
    assert others("all.zip") == [line]
    (folder / "all.zip").unlink()
    assert others(".") == [line]
    (folder / "c").mkdir()
    (folder / "c" / "x.heic").touch()
    with pytest.raises(UserError, match=r"input=c: no image there \(left out by their ending: 1 \(.heic\)\): give an"):
        others("c")


def test_levels_are_read_by_the_setting(folder):
    Image.fromarray(np.full((2, 2), 1000, np.uint16)).save("12.png")
    with_white, without = (
        list(Files("12.png", channels=1, image_size=[2, 2], batch_size=2, num_workers=0, white=white).loader())
        for white in (4095, None)
    )
    assert with_white[0][0].flatten().tolist() == [62] * 4
    assert without[0][2][0].startswith("12.png: 16 bits, but no level above 1000: set data.white=4095 if")


def test_an_image_above_the_limit_is_unreadable(folder):
    Image.new("1", (300, 200)).save("large.png")
    for limit, count in ((0.05, 0), (0.06, 1)):
        settings = {"channels": 3, "image_size": [2, 2], "batch_size": 2, "num_workers": 0, "max_megapixels": limit}
        ((images, _, unreadable),) = Files("large.png", **settings).loader()
        assert len(images) == count
        assert list(unreadable.values()) == (1 - count) * [
            "large.png: 60,000 pixels are more than files.max_megapixels=0.05 allows: reduce the image, or set "
            "files.max_megapixels=1 if memory suffices for it"
        ]


def test_prediction_takes_the_white_level_of_the_run():
    files = OmegaConf.load(REPOSITORY / "config" / "predict.yaml").files
    assert OmegaConf.create({"files": files, "data": {"white": 4095}}).files.white == 4095
    assert OmegaConf.create({"files": files, "data": {"channels": 1}}).files.white is None  # another data set


def test_refuses_what_no_file_can_be_read_as(folder):
    with pytest.raises(UserError, match="takes 4 channels"):
        Files(".", channels=4, image_size=[2, 2], batch_size=2, num_workers=None)
