"""The table of large images names every image with its part and label, and says what is wrong with others."""

from pathlib import Path

import pytest

from datamodule.image_table import ImageTable, count_classes
from process.errors import UserError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).mkdir() if name.endswith(".zarr") else (root / name).touch()


def rows(root: Path) -> list[tuple[str, str, str]]:
    table = ImageTable(str(root))
    return [
        (str(path.relative_to(root)), row.label, row.part) for path, row in zip(table.paths, table.rows, strict=True)
    ]


def test_folders_are_classes_and_a_zarr_is_one_image(tmp_path):
    touch(
        tmp_path, "train/b/x.zarr", "train/b/x.zarr/0", "train/a/deep/y.svs", "train/a/.hidden.npy", "train/a/notes.txt"
    )
    touch(tmp_path, "val/a/z.npy", "test/b/1.TIF")
    assert rows(tmp_path) == [
        ("train/a/deep/y.svs", "a", "train"),
        ("train/b/x.zarr", "b", "train"),
        ("val/a/z.npy", "a", "valid"),
        ("test/b/1.TIF", "b", "test"),
    ]
    assert count_classes(str(tmp_path)) == 2


def test_a_table_names_images_with_or_without_their_ending(tmp_path):
    touch(tmp_path, "images/a.svs", "images/b.tif", "c.zarr")
    (tmp_path / "images.csv").write_text(
        "image,label,split,group,fold\na,1,train,p,0\nb.tif,10,test,q,1\nc,9,valid,r,1\n"
    )
    assert rows(tmp_path) == [
        ("images/a.svs", "1", "train"),
        ("images/b.tif", "10", "test"),
        ("c.zarr", "9", "valid"),
    ]
    table = ImageTable(str(tmp_path))
    assert table.class_names == ["1", "9", "10"]
    assert [(row.group, row.fold) for row in table.rows] == [("p", 0), ("q", 1), ("r", 1)]


@pytest.mark.parametrize(
    ("names", "table", "message"),
    [
        (["train/a/x.npy", "test/b/y.npy"], None, "class 'b' is in test/ but not in train/"),
        (["train/a/x.npy", "train/b/y.txt"], None, "train/b holds no image"),
        (["train/x.npy"], None, "no classes in train/"),
        (["a/x.npy"], None, "no train/, but a/"),
        (["images/a.npy"], "image,label\na,1\nb,2\nc,2\n", "no file of b, c in .*images .*: add these files"),
        (["images/a.npy"], "slide_id,label\na,1\n", "no column image: rename the column slide_id"),
        (["images/a.npy"], "image,label\na,1\na,2\n", "line 3: image a is in line 2 too"),
        (["images/a.npy"], "image,label\n", "no image in it"),
        (
            ["images/a.npy", "images/b.npy"],
            "image,label,split,group\na,1,train,p\nb,1,test,p\n",
            r"images of one group are in several parts: p \(p: test and train\)",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, names, table, message):
    touch(tmp_path, *names)
    if table is not None:
        (tmp_path / "images.csv").write_text(table)
    with pytest.raises(UserError, match=message) as raised:
        ImageTable(str(tmp_path))
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_missing_is_named():
    with pytest.raises(UserError, match=r"no such folder: set data.root to the folder of images\.csv"):
        ImageTable("/nowhere")
