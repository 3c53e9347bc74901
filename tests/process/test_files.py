import json
import os
from pathlib import Path

import pytest

from process.errors import UserError
from process.files import open_regular, path_from_setting, replacing, write_json


def test_an_error_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"status": "running"})

    def fail() -> None:
        with replacing(path) as file:
            file.write("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert json.loads(path.read_text()) == {"status": "running"}
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_as_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_nan_and_infinity_are_text(tmp_path):
    write_json(
        tmp_path / "run.json", {"loss": float("nan"), "sizes": {"n=1": float("inf")}, "all": [1.5, -float("inf")]}
    )
    expected = {"loss": "nan", "sizes": {"n=1": "inf"}, "all": [1.5, "-inf"]}
    assert json.loads((tmp_path / "run.json").read_text()) == expected


def test_the_new_file_has_ordinary_permissions_and_unicode(tmp_path):
    path, plain = tmp_path / "run.json", tmp_path / "plain"
    plain.touch()
    write_json(path, {"comment": "日本語"})
    assert path.stat().st_mode == plain.stat().st_mode
    assert "日本語" in path.read_text(encoding="utf-8")


def test_a_list_of_numbers_stands_in_one_line_and_texts_are_kept(tmp_path):
    content = {
        "confusion_matrix": [[1, 0], [20, 300]],
        "means": [-1.5, 2e-30],
        "mixed": [1, "a"],
        "none": [],
        "text": "[\n1,\n2\n] [ 3 ]",
    }
    path = tmp_path / "evaluation.json"
    write_json(path, content)
    assert json.loads(path.read_text()) == content
    lines = [line.strip() for line in path.read_text().splitlines()]
    assert lines[1:6] == ['"confusion_matrix": [', "[1, 0],", "[20, 300]", "],", '"means": [-1.5, 2e-30],']


@pytest.mark.parametrize("name", ["pipe", "link"])
def test_a_device_stays_what_it_is(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")  # as /dev/stdout is
    with pytest.raises(UserError, match="is no file"):
        write_json(tmp_path / name, {})
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()


def test_a_path_that_exists_and_one_that_does_not_yet(tmp_path):
    for text in (str(tmp_path), str(tmp_path / "absent" / "x"), f"{__file__}/x", "."):
        assert path_from_setting("output", text, "") == Path(text)
    assert path_from_setting("output", "~/x", "") == Path.home() / "x"


@pytest.mark.parametrize("text", [300 * "x", "~nobody_at_all/x", "a\0b"])
def test_a_path_that_no_file_can_have(text):
    with pytest.raises(UserError, match=r"^output=(?s:.)+: .+: name a file$"):
        path_from_setting("output", text, "name a file")


def test_a_file_is_appended_to_where_it_stands_and_made_if_it_is_missing(tmp_path):
    for line in ("a", "b"):
        with open_regular(tmp_path / "x.log") as file:
            file.write(f"{line}\n")
    assert (tmp_path / "x.log").read_text() == "a\nb\n"


NO_FILES = {
    "a link": lambda path, target: path.symlink_to(target),
    "a link to nothing": lambda path, target: path.symlink_to(f"{target}.new"),
    "a pipe": lambda path, target: os.mkfifo(path),
    "a device": lambda path, target: path.symlink_to("/dev/null"),
}


@pytest.mark.parametrize("mode", ["a", "a+"])
@pytest.mark.parametrize("kind", NO_FILES)
def test_nothing_is_appended_through_a_link_a_pipe_or_a_device(tmp_path, kind, mode):
    path, target = tmp_path / "train.log", tmp_path / "precious"
    target.write_text("kept")
    NO_FILES[kind](path, target)
    with pytest.raises(UserError, match=r"cannot write .*train.log: it is a link or no regular file; remove it"):
        open_regular(path, mode)
    assert target.read_text() == "kept"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["precious", "train.log"]


def test_a_pipe_that_somebody_reads_is_refused_too(tmp_path):
    os.mkfifo(tmp_path / "train.log")
    reader = os.open(tmp_path / "train.log", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(UserError, match="it is a link or no regular file"):
        open_regular(tmp_path / "train.log")
    assert os.read(reader, 1) == b""
    os.close(reader)
