import re
import subprocess
import sys
from pathlib import Path

import pytest

from process.errors import UserError
from run.folder import make_run_folder, slug


def test_the_name_says_experiment_date_time_and_comment(tmp_path):
    folder = Path(make_run_folder(str(tmp_path / "outputs"), "Default", "lr 0.1, 日本語"))
    relative = str(folder.relative_to(tmp_path))
    assert re.fullmatch(r"outputs/Default/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d_lr-0\.1-日本語", relative)
    assert folder.is_dir()


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


def test_a_comment_cannot_leave_the_folder(tmp_path):
    folder = Path(make_run_folder(str(tmp_path / "a"), "../../b", "../../../c/d"))
    assert folder.resolve().is_relative_to(tmp_path / "a")


@pytest.mark.parametrize(("text", "expected"), [("a b", "a-b"), ("a/b=1", "a-b=1"), ("", "-"), ("..", "-")])
def test_slug(text, expected):
    assert slug(text) == expected


def test_a_file_in_the_way_is_one_clear_line(tmp_path):
    (tmp_path / "outputs").write_text("")
    with pytest.raises(UserError, match=r"cannot make a run folder in .*outputs"):
        make_run_folder(str(tmp_path / "outputs"), "x", None)
