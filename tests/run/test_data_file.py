"""Files of somebody else's run: each trick is refused in words, and what a run writes is read as it was written."""

import json
import os
import time

import pytest
import yaml
from omegaconf import OmegaConf

from run.data_file import DamagedFileError, parse_yaml, read_bytes, read_json, read_yaml


def written(folder, content):
    path = folder / "file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "is no JSON"),
        ('{"a": 1', "is no JSON"),
        (b"\xff", "is no UTF-8 text"),
        ("[" * 100_000, "is no JSON"),
        ("[" * 41 + "]" * 41, "is nested more than 40 deep"),
        ('{"a": ' + "9" * 400 + "}", "is no JSON"),
        ('{"a": "\\ud800"}', "holds text that is no Unicode"),
        ('{"\\udfff": 1}', "holds text that is no Unicode"),
        ('{"a": "\ud800"}', "is no UTF-8 text"),
        ("[" + "1," * 600_000 + "1]", "is larger than 1,024 KiB"),
    ],
)
def test_json_that_is_refused(tmp_path, content, why):
    with pytest.raises(DamagedFileError, match=f"^{why}"):
        read_json(written(tmp_path, content), 2**20)


def test_json_is_read_with_a_byte_order_mark_with_windows_lines_and_with_repeated_keys(tmp_path):
    assert read_json(written(tmp_path, '\ufeff{"a": 1,\r\n "a": ["\\u65e5", 1e999]}')) == {"a": ["日", float("inf")]}


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for name in ("pipe", "endless"):
        with pytest.raises(DamagedFileError, match="is no regular file"):
            read_bytes(tmp_path / name, 10)
    with pytest.raises(DamagedFileError, match="is a directory"):
        read_bytes(tmp_path, 10)
    with pytest.raises(OSError, match="symbolic links"):
        read_bytes(tmp_path / "circle", 10)


BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))])
MERGED = "\n".join(
    ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30))]
)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (BOMB, "holds aliases"),
        (MERGED, "holds aliases"),
        ("a: &a [*a]", "holds aliases"),
        ("[" * 5000, "is nested more than 40 deep"),
        ("- " * 5000, "is nested more than 40 deep"),
        ("a: !!python/object/apply:os.system [true]", "holds a tag"),
        ("a: !!int ''", "holds a tag"),
        ("a: 2026-01-01", "holds a date"),
        ("a: " + "9" * 400, "holds a number of more than 300 digits"),
        ("a: 0x" + "f" * 300, "holds a number of more than 300 digits"),
        ("a: 1" + ":30" * 100_000, "holds a number of more than 300 digits"),
        ("\ta: 1", "is no YAML"),
        ("a: b: c", "is no YAML"),
        ("? [a]\n: 1", "is no YAML"),
        (b"a: \xff", "is no UTF-8 text"),
        ("a: \0", "is no YAML"),
        ("a: " + "x " * 300_000, "is larger than 512 KiB"),
    ],
)
def test_yaml_that_is_refused(tmp_path, content, why):
    began = time.monotonic()
    with pytest.raises(DamagedFileError, match=f"^{why}"):
        read_yaml(written(tmp_path, content))
    assert time.monotonic() - began < 30  # seconds; an expanded bomb takes hours


def test_yaml_that_a_run_writes_is_read_as_before():
    config = {
        "date": "2026-01-01",
        "time": "12:30:00",
        "digits": "0123",
        "truth": ["yes", "null", "~", True, None],
        "rate": [1e-5, 3e12, float("inf"), 5],
        "text": "a: *b !c &d\n{e} ${data.root}" + "1" * 400,
        "none": {"list": [], "mapping": {}},
    }
    text = OmegaConf.to_yaml(OmegaConf.create(config))
    assert parse_yaml(text) == yaml.safe_load(text) == config
    assert json.dumps(parse_yaml(text))
