import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from datamodule.class_folders import EXTENSIONS, FORMATS, count_classes, list_images
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
            r"no train/, but valid/: set data.root to a folder or .zip with train/<class>",
        ),
        (
            ["train/a.png"],
            "train",
            r"no classes in train/: set data.root to a folder or .zip with train/<class>",
        ),
        (
            [*NAMES, "train/owl/x.txt"],
            "train",
            r"train/owl holds no image \(left out by their ending: 1 \(.txt\)\): add some or remove it",
        ),
        (
            [*NAMES, "valid/owl/x.png"],
            "valid",
            r"class 'owl' is in valid/ but not in train/: rename, add or remove",
        ),
        (
            [*NAMES, "validation/dog/x.png"],
            "train",
            r"valid/ and validation/ are both there: keep one of them",
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


def test_endings_are_those_that_pillow_decodes_by_itself():
    others = {
        "BUFR",  # needs a handler, which Pillow has not
        "GRIB",
        "HDF5",
        "WMF",
        "EPS",  # needs Ghostscript
        "MPEG",  # is identified only
        "IM",  # is deprecated
        "IPTC",  # holds a file of any format, also one that needs Ghostscript
    }
    endings = Image.registered_extensions()
    known = {ending for ending, kind in endings.items() if kind in Image.OPEN and kind not in others}
    assert known | {".mpo"} == EXTENSIONS  # MPO is opened as JPEG
    assert set(Image.OPEN) >= FORMATS.keys()  # else Image.open would raise KeyError
    assert all(endings[ending] == kind for kind, text in FORMATS.items() for ending in text.split() if ending != ".mpo")


@pytest.mark.parametrize("make", [make_folder, make_zip])
@pytest.mark.parametrize("name", ["val", "validation", "valid"])
def test_other_names_of_valid(tmp_path, make, name):
    root = make(tmp_path / "data.zip", [each.replace("valid/", f"{name}/") for each in NAMES])
    assert list_images(root, "valid") == {"dog": [f"{name}/dog/d.bmp"]}
    unknown = make(tmp_path / "other.zip", [*NAMES[:3], f"{name}/owl/x.png"])
    with pytest.raises(UserError, match=f"class 'owl' is in {name}/ but not in train/"):
        list_images(unknown, "valid")


@pytest.mark.parametrize("make", [make_folder, make_zip])
def test_what_is_left_out_is_noted_once(tmp_path, make):
    root = make(tmp_path / "data.zip", [*NAMES, *IGNORED, "train/dog/x.HEIC", "test2/a/b.png", "valid/readme", ".x/y"])
    notes = []
    for part in ("train", "valid", "test"):
        list_images(root, part, notes.append)
    assert sorted(line.removeprefix(f"{root}: ") for line in notes) == [
        "not used: other/ test2/ (only train/, valid/ and test/ are)",
        "train/: left out by their ending: 2 (.heic .txt)",
        "train/: left out, in no class's folder: 1 (beside.png)",
    ]


@pytest.mark.processes
@pytest.mark.parametrize("top", ["data", "my data"])
@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Train/cat/a.png", "test/cat/b.png"], "Train/ must be named train/: "),
        (["train/cat/a.png", "Val/cat/b.png"], "Val/ must be named val/: "),
        (["cat/a.png", "dog/b.png"], "no train/, but cat/ dog/: expected train/<class>/<image>; if these are the "),
    ],
)
def test_the_command_in_the_message_mends_it(tmp_path, top, names, words):
    root = make_folder(tmp_path / top, names)
    with pytest.raises(UserError, match=words) as caught:
        count_classes(root)
    command = str(caught.value).rpartition("classes: " if "classes: " in str(caught.value) else "/: ")[2]
    subprocess.run(command, shell=True, check=True)
    assert {"cat"} <= list_images(root, "train").keys() <= {"cat", "dog"}


def test_names_the_root_that_is_meant(tmp_path):
    make_folder(tmp_path / "pets", NAMES)
    for root in (tmp_path, tmp_path / "pets" / "train"):
        with pytest.raises(UserError, match=f"no train/, but .*: set data.root={tmp_path / 'pets'}$"):
            count_classes(str(root))


@pytest.mark.parametrize(("top", "start"), [("", ""), ("", "./"), ("x/", ".\\x\\.\\"), ("x/", "x//")])
@pytest.mark.parametrize("separator", ["/", "\\"])
def test_zip_with_backslashes_or_dots(tmp_path, separator, top, start):
    root = make_zip(tmp_path / "x.zip", [start + name.replace("/", separator) for name in NAMES])
    assert list_images(root, "train") == {
        label: [f"{top}{name}" for name in images] for label, images in EXPECTED.items()
    }


def test_a_name_twice_in_a_zip(tmp_path):
    with warnings.catch_warnings(action="ignore"):
        root = make_zip(tmp_path / "same.zip", [*NAMES, *NAMES, "./train/dog/c.Jpeg"])
    assert list_images(root, "train") == EXPECTED
    with zipfile.ZipFile(root, "a") as archive:
        archive.writestr("train\\dog\\c.Jpeg", "another")
    with pytest.raises(UserError, match=r"same.zip: two different files are named train/dog/c.Jpeg: remove one"):
        count_classes(root)


@pytest.mark.parametrize("name", ["/train/cat/a.png", "train/cat/../../../a.png", "..\\a.png", "C:\\train\\cat\\a.png"])
def test_refuses_names_that_lead_out_of_a_zip(tmp_path, name):
    root = make_zip(tmp_path / "x.zip", [*NAMES, name])
    with pytest.raises(UserError, match=r"x.zip: the name '.*a.png' leads out of the .zip: make it anew"):
        count_classes(root)


def test_refuses_an_encrypted_zip(tmp_path):
    root = Path(make_zip(tmp_path / "x.zip", NAMES))
    data = bytearray(root.read_bytes())
    entry = data.index(b"PK\x01\x02")  # of the first file, in the directory of the archive
    data[entry + 8] |= 1
    root.write_bytes(data)
    with pytest.raises(UserError, match=r"x.zip: train/cat/a.PNG is encrypted: unzip it, and name the folder"):
        count_classes(str(root))


@pytest.mark.parametrize(
    ("method", "words"), [(9, "Deflate64"), (12, "bzip2"), (14, "LZMA"), (93, "Zstandard"), (99, "method 99")]
)
def test_refuses_a_zip_whose_decompression_has_no_limit(tmp_path, method, words):
    root = Path(make_zip(tmp_path / "x.zip", NAMES))
    data = bytearray(root.read_bytes())
    data[data.index(b"PK\x01\x02") + 10] = method
    root.write_bytes(data)
    with pytest.raises(
        UserError, match=rf"train/cat/a.PNG is compressed by ({words}): make it anew by deflate, or unzi"
    ):
        count_classes(str(root))


def test_a_zip_has_one_folder_at_the_top(tmp_path):
    two = [*(f"a/{name}" for name in NAMES), *(f"b/{name}" for name in NAMES)]
    for names in (two, [*two[:4], "b/x.png"]):
        root = make_zip(tmp_path / "x.zip", names)
        with pytest.raises(
            UserError, match=r"x.zip: only one folder may be at the top if it holds train/, here are a b"
        ):
            count_classes(root)
    with pytest.raises(UserError, match=r"x.zip: a/Train/ must be named train/: rename it in the .zip"):
        count_classes(make_zip(tmp_path / "x.zip", ["a/Train/cat/a.png"]))
    with pytest.raises(
        UserError, match=r"x.zip: no train/, but cat/ dog/: set data.root to a folder or .zip with train/"
    ):
        count_classes(make_zip(tmp_path / "x.zip", ["cat/a.png", "dog/b.png"]))


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
