import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from process.errors import UserError
from run import folder
from run.folder import MissingRecordError, RecordError, locked, make_run_folder, read_run_json, remove_unused, slug


def test_the_name_says_experiment_date_time_and_comment(tmp_path):
    made = Path(make_run_folder(str(tmp_path / "outputs"), "Default", "lr 0.1, 日本語"))
    relative = str(made.relative_to(tmp_path))
    assert re.fullmatch(r"outputs/Default/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d_lr-0\.1-日本語", relative)
    assert made.is_dir()


@pytest.mark.processes
def test_fifty_processes_in_one_second_make_fifty_folders(tmp_path):
    code = """
import datetime, sys
from run import folder

class Stopped(datetime.datetime):
    @classmethod
    def now(cls):
        return cls(2026, 1, 2, 3, 4, 5)

folder.datetime = Stopped
print(folder.make_run_folder(sys.argv[1], "x", None))
"""
    source = Path(__file__).parents[2] / "src"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=source, stdout=subprocess.PIPE, text=True)
        for _ in range(50)
    ]
    folders = [process.communicate()[0].strip() for process in processes]
    assert len(set(folders)) == 50
    assert all(Path(folder).is_dir() for folder in folders)
    assert {Path(folder).name[:8] for folder in folders} == {"03-04-05"}


def test_two_starts_in_one_second_differ_by_a_number(tmp_path):
    folders = [make_run_folder(str(tmp_path), "x", "note") for _ in range(5)]
    assert len(set(folders)) == 5
    assert any(folder.endswith("_note_1") for folder in folders)


def test_a_folder_in_which_nothing_was_written_is_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    used, unused = (Path(make_run_folder("outputs", name, None)) for name in ("used", "unused"))
    (used / "run.json").write_text("{}")
    (used / "train.log").touch()
    (unused / "train.log").touch()
    remove_unused([unused, used])
    assert [path.name for path in Path("outputs").iterdir()] == ["used"]
    assert (used / "run.json").exists()
    (used / "run.json").unlink()
    assert (used / "train.log").exists()
    remove_unused([used])
    assert list(tmp_path.iterdir()) == []


def test_a_comment_cannot_leave_the_folder(tmp_path):
    made = Path(make_run_folder(str(tmp_path / "a"), "../../b", "../../../c/d"))
    assert made.resolve().is_relative_to(tmp_path / "a")


@pytest.mark.parametrize(("text", "expected"), [("a b", "a-b"), ("a/b=1", "a-b=1"), ("", "-"), ("..", "-")])
def test_slug(text, expected):
    assert slug(text) == expected


def test_a_file_in_the_way_is_one_clear_line(tmp_path):
    (tmp_path / "outputs").write_text("")
    with pytest.raises(UserError, match=r"cannot make a run folder in .*outputs"):
        make_run_folder(str(tmp_path / "outputs"), "x", None)


def test_a_record_is_read_as_it_was_written(tmp_path):
    (tmp_path / "run.json").write_text('{"status": "running", "metrics": {"test_loss": "nan"}}')
    assert read_run_json(tmp_path) == {"status": "running", "metrics": {"test_loss": "nan"}}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"status": 1}', '{"status": "failed", "composed": []}'])
def test_a_damaged_record_is_refused_with_a_remedy(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RecordError, match=f"{tmp_path}: run.json is .*: restore it, or .* init_from={tmp_path}"):
        read_run_json(tmp_path)


def test_a_folder_without_a_record(tmp_path):
    with pytest.raises(MissingRecordError, match=r"no run\.json"):
        read_run_json(tmp_path)


def test_a_lock_names_who_holds_it_and_ends_with_its_block(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"status": "running", "pid": 7, "host": "here"}))
    with locked(tmp_path), pytest.raises(UserError, match=r"is still running \(process 7 on here\)"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_forked_process_does_not_keep_the_lock(tmp_path):
    ready, started = os.pipe()
    with locked(tmp_path):
        child = os.fork()
        if child == 0:
            os.write(started, b".")
            signal.pause()
        os.read(ready, 1)
    try:
        with locked(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_copy_differs_in_nothing_but_what_was_changed(tmp_path, monkeypatch):
    repository, copy = tmp_path / "repository", tmp_path / "copy"
    for file in ("src/model.py", "src/.model.py.swp", "src/outputs/x.py", "src/__pycache__/model.pyc", "config/a.yaml"):
        (repository / file).parent.mkdir(parents=True, exist_ok=True)
        (repository / file).write_text("1")
    monkeypatch.setattr(folder, "REPOSITORY", repository)
    folder.copy_source(copy)
    assert sorted(path.name for path in copy.rglob("*") if path.is_file()) == ["a.yaml", "model.py"]
    assert folder.source_differences(copy) == []
    (repository / "src" / "model.py").write_text("2")
    (repository / "src" / "new.py").touch()
    (repository / "config" / "a.yaml").unlink()
    assert folder.source_differences(copy) == ["config/a.yaml", "src/model.py", "src/new.py"]
    assert folder.source_differences(copy, "config") == ["config/a.yaml"]


def test_a_copy_says_what_it_leaves_out(tmp_path, monkeypatch, caplog):
    repository, runs = tmp_path / "repository", tmp_path / "repository" / "outputs"
    for file in ("src/model.py", "src/local/net.py", "src/.env", "config/tls.key"):
        (repository / file).parent.mkdir(parents=True, exist_ok=True)
        (repository / file).write_text("1")
    (repository / "src" / "nothing").symlink_to("absent")
    (repository / "src" / "runs").symlink_to("../outputs")
    os.mkfifo(repository / "src" / "pipe")
    (runs / "1").mkdir(parents=True)
    monkeypatch.setattr(folder, "REPOSITORY", repository)
    with caplog.at_level("INFO"):
        folder.copy_source(runs / "1" / "source")
    (line,) = caplog.messages
    assert line == (
        "source/ lacks config/tls.key (may hold a secret), src/.env (may hold a secret), src/nothing (a link to "
        "nothing), src/pipe (no regular file), src/runs (a link that leads in circles)"
    )
    assert folder.source_differences(runs / "1" / "source") == []
    assert {path.name for path in (runs / "1" / "source").rglob("*")} == {"src", "model.py", "local", "net.py"}
    caplog.clear()
    (repository / ".gitignore").write_text("local/\n")
    (runs / "2").mkdir()
    folder.copy_source(runs / "2" / "source")
    (entry,) = caplog.records
    assert entry.levelname == "WARNING"
    assert entry.message.endswith("if they need src/local, take it out of .gitignore")
    assert not (runs / "2" / "source" / "src" / "local").exists()
    assert folder.source_differences(runs / "2" / "source") == []


def test_the_commit_is_that_of_the_code_that_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "REPOSITORY", tmp_path)
    assert folder.git_state() is None
    (tmp_path / ".gitignore").write_text("/outputs/\n")
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    state = folder.git_state()
    assert len(state["commit"]) == 40
    assert not state["dirty"]
    (tmp_path / "notes.txt").touch()
    assert not folder.git_state()["dirty"]
    own = tmp_path / "src" / "own_pool.py"
    own.parent.mkdir()
    own.touch()
    assert folder.git_state()["dirty"]
    own.unlink()
    assert not folder.git_state()["dirty"]
    (tmp_path / ".gitignore").write_text("/outputs/\n/multirun/\n")
    assert folder.git_state()["dirty"]
    (tmp_path / "outputs" / "source").mkdir(parents=True)  # where rerun.py runs
    monkeypatch.setattr(folder, "REPOSITORY", tmp_path / "outputs" / "source")
    assert folder.git_state() is None
