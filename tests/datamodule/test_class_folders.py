import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from datamodule.class_folders import count_classes, list_images
from process.errors import UserError

NAMES = ["train/cat/a.PNG", "train/cat/deep/er/b.jpg", "train/dog/c.Jpeg", "valid/dog/d.bmp"]
IGNORED = [
    "train/cat/.hidden.png",
    "train/cat/notes.txt",
    "train/.git/x.png",
    "train/beside.png",
    "other/owl/e.png",
]
EXPECTED = {"cat": ["train/cat/a.PNG", "train/cat/deep/er/b.jpg"], "dog": ["train/dog/c.Jpeg"]}


def make_folder(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return str(root)


def make_zip(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return str(path)


def test_folder(tmp_path):
    root = make_folder(tmp_path, NAMES + IGNORED)
    assert list_images(root, "train") == EXPECTED
    assert list_images(root, "valid") == {"dog": ["valid/dog/d.bmp"]}
    assert list_images(root, "test") == {}
    assert count_classes(root) == 2


@pytest.mark.parametrize("top", ["", "animals/"])
def test_zip_with_and_without_a_top_folder(tmp_path, top):
    names = [f"{top}{name}" for name in NAMES + IGNORED]
    root = make_zip(tmp_path / "x.zip", [*names, "__MACOSX/train/fox/._a.png"])
    expected = {label: [f"{top}{name}" for name in images] for label, images in EXPECTED.items()}
    assert list_images(root, "train") == expected
    assert list(list_images(root, "valid")) == ["dog"]
    assert list_images(root, "test") == {}
    assert count_classes(root) == 2


@pytest.mark.parametrize(
    ("names", "part", "words"),
    [
        (
            ["valid/cat/a.png"],
            "train",
            r"no classes in train/: set data.root to a folder or .zip with train/<class>",
        ),
        (
            [*NAMES, "train/owl/x.txt"],
            "train",
            r"train/owl holds no image \(.jpg .*\): add some or remove it",
        ),
        (
            [*NAMES, "valid/owl/x.png"],
            "valid",
            r"class 'owl' is in valid/ but not in train/: rename, add or remove",
        ),
    ],
)
@pytest.mark.parametrize("make", [make_folder, make_zip])
def test_refuses(tmp_path, make, names, part, words):
    root = make(tmp_path / "data.zip", names)
    with pytest.raises(UserError, match=words) as caught:
        list_images(root, part)
    assert str(caught.value).startswith(root)
    assert "\n" not in str(caught.value)


def test_refuses_a_root_that_is_not_there_or_no_zip(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such folder or .zip: set data.root to"):
        count_classes(str(tmp_path / "nowhere"))
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UserError, match=r"cut.zip: not a readable .zip"):
        count_classes(str(tmp_path / "cut.zip"))


@pytest.mark.processes
def test_counting_imports_nothing_heavy():
    source = Path(sys.modules["datamodule.class_folders"].__file__).parents[1]
    code = "import sys, datamodule.class_folders; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
