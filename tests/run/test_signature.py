"""The signature of a folder: it fits only what this account has written, and its absence stops no run."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from process.errors import UserError
from run import signature


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.delenv("PATCH_SETS_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "patch_sets"


@pytest.fixture
def folder(tmp_path):
    """A run folder as far as it is signed."""
    path = tmp_path / "run"
    for name in (*signature.CONFIG, "source/src/model.py", "source/config/config.yaml"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return path


def test_a_signed_folder_is_own_wherever_it_is_moved(folder, tmp_path, state):
    assert not signature.is_own(folder)
    signature.sign(folder)
    assert signature.is_own(folder)
    assert state.stat().st_mode & 0o077 == 0
    assert (state / "key").stat().st_mode & 0o777 == 0o600
    assert signature.is_own(shutil.move(folder, tmp_path / "moved"))


@pytest.mark.parametrize("name", [*signature.CONFIG, "source/src/model.py", "source/config/config.yaml"])
def test_an_edited_folder_is_not_own(folder, name):
    signature.sign(folder)
    (folder / name).write_text("edited")
    assert not signature.is_own(folder)


def test_an_added_or_removed_file_is_noticed(folder):
    signature.sign(folder)
    (folder / "source/src/more.py").write_text("")
    assert not signature.is_own(folder)
    (folder / "source/src/more.py").unlink()
    assert signature.is_own(folder)
    (folder / "source/src/model.py").unlink()
    assert not signature.is_own(folder)


def test_content_cannot_move_between_files(folder):
    (folder / "source/a").write_text("1")
    (folder / "source/b").write_text("23")
    signature.sign(folder)
    (folder / "source/a").write_text("12")
    (folder / "source/b").write_text("3")
    assert not signature.is_own(folder)


def test_another_account_has_another_key(folder, monkeypatch, tmp_path):
    signature.sign(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert not signature.is_own(folder)
    signature.sign(folder)
    assert signature.is_own(folder)


def test_compiled_files_are_not_signed_and_are_removed(folder):
    signature.sign(folder)
    (folder / "source/src/__pycache__").mkdir()
    (folder / "source/src/__pycache__/model.cpython-311.pyc").write_bytes(b"evil")
    assert signature.is_own(folder)
    signature.remove_compiled(folder)
    assert not (folder / "source/src/__pycache__").exists()


def test_a_linked_folder_of_compiled_files_is_removed_too(folder, tmp_path):
    signature.sign(folder)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model.cpython-311.pyc").write_bytes(b"evil")
    (folder / "source/src/__pycache__").symlink_to(tmp_path / "elsewhere")
    assert signature.is_own(folder)
    signature.remove_compiled(folder)
    assert not (folder / "source/src/__pycache__").exists()
    assert (tmp_path / "elsewhere" / "model.cpython-311.pyc").exists()


def test_compiled_files_that_cannot_be_removed_are_refused(folder):
    (folder / "source/src/__pycache__").write_text("no folder")
    with pytest.raises(UserError, match="not signed, and cannot be removed"):
        signature.remove_compiled(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"config": 1, "source": null}', "\xff", "[" * 10**5])
def test_a_damaged_signature_fits_nothing(folder, content):
    signature.sign(folder)
    (folder / signature.NAME).write_text(content, encoding="latin-1")
    assert not signature.is_own(folder)


def test_what_never_ends_is_not_read(folder):
    signature.sign(folder)
    os.mkfifo(folder / "source" / "pipe")
    assert not signature.is_own(folder)
    (folder / "source" / "pipe").unlink()
    with (folder / "source" / "large").open("wb") as file:
        file.truncate(2**40)
    assert not signature.is_own(folder)
    (folder / "source" / "large").unlink()
    (folder / "source" / "linked").symlink_to("/")
    assert not signature.is_own(folder)
    (folder / "source" / "linked").unlink()
    assert signature.is_own(folder)


def test_a_config_that_is_written_anew_is_signed_where_the_code_is_own(folder):
    signature.sign_config(folder)
    assert not signature.is_own(folder)  # it had no signature
    signature.sign(folder)
    (folder / "config.yaml").write_text("new")
    signature.sign_config(folder)
    assert signature.is_own(folder)
    (folder / "source/src/model.py").write_text("new")
    signature.sign_config(folder)
    assert not signature.is_own(folder)


def test_the_arguments_of_a_sweep_are_signed_and_its_resumptions_are_not(folder):
    def write(arguments, resumed):
        (folder / "sweep.json").write_text(json.dumps({"arguments": arguments, "resumed": resumed}))

    write(["-m"], [])
    signature.sign(folder)
    write(["-m"], [{"pid": 1}])
    assert signature.is_own(folder)
    write(["-m", "--config-dir=/tmp"], [])
    assert not signature.is_own(folder)


@pytest.mark.parametrize("home", ["file/home", "/proc/nowhere"])
def test_a_home_that_cannot_be_written_stops_no_run(folder, tmp_path, monkeypatch, home):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / home))
    signature.sign(folder)
    assert not signature.is_own(folder)
    assert not (folder / signature.NAME).exists()


def test_jobs_that_start_together_get_one_key(folder, tmp_path):
    folders = [shutil.copytree(folder, tmp_path / str(number)) for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(signature.sign, folders))
    assert all(map(signature.is_own, folders))


def test_the_container_uses_the_key_of_the_host(folder, state, monkeypatch):
    signature.sign(folder)
    monkeypatch.setenv("XDG_STATE_HOME", "/nowhere")
    assert not signature.is_own(folder)
    monkeypatch.setenv("PATCH_SETS_STATE", str(state))
    assert signature.is_own(folder)
