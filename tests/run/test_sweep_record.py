import json

import pytest

from process.errors import UserError
from run import sweep_record


def sweep(folder, arguments=("data=digits", "-m")):
    """Make the folder of a sweep that has copied the code."""
    (folder / "source" / "src" / "sweep").mkdir(parents=True)
    (folder / "source" / "src" / "sweep" / "callback.py").touch()
    sweep_record.write_start(folder, list(arguments))
    return folder


def test_a_sweep_that_is_resumed_keeps_its_arguments_and_its_first_start(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.orig_argv", ["python", "src/train.py", "-m"])
    sweep(tmp_path)
    first = sweep_record.read(tmp_path)
    assert first["arguments"] == ["data=digits", "-m"]
    assert sweep_record.latest_start(tmp_path)["command"] == "python src/train.py -m"
    monkeypatch.setattr("sys.orig_argv", ["python", "src/train.py", "resume_sweep=last"])
    sweep_record.write_start(tmp_path, ["other=1"])
    again = sweep_record.read(tmp_path)
    assert {**again, "resumed": []} == first
    assert sweep_record.latest_start(tmp_path) == {
        "command": "python src/train.py resume_sweep=last",
        "git": first["git"],
    }


@pytest.mark.parametrize("arguments", [3, [], [1]])
def test_a_record_without_its_arguments_is_refused(tmp_path, arguments):
    record = json.loads((sweep(tmp_path) / "sweep.json").read_text())
    (tmp_path / "sweep.json").write_text(json.dumps(record | {"arguments": arguments}))
    with pytest.raises(UserError, match=r"no folder of a sweep|sweep\.json is damaged: arguments must be a list"):
        sweep_record.read(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_record_is_refused(tmp_path, content):
    (sweep(tmp_path) / "sweep.json").write_text(content)
    with pytest.raises(UserError, match="no folder of a sweep"):
        sweep_record.read(tmp_path)


def test_without_its_copy_of_the_code_a_sweep_cannot_be_resumed(tmp_path):
    (sweep(tmp_path) / "source" / "src" / "sweep" / "callback.py").unlink()
    with pytest.raises(UserError, match="no folder of a sweep"):
        sweep_record.read(tmp_path)


def test_a_run_is_no_sweep(tmp_path):
    (tmp_path / "run.json").touch()
    with pytest.raises(UserError, match=f"a run, no sweep: resume={tmp_path} continues it"):
        sweep_record.read(tmp_path)


def test_last_is_the_sweep_that_began_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no sweep below multirun/"):
        sweep_record.find("last")
    for name in ("A/2026-11-20/09-00-00", "B/2026-11-20/10-00-00", "A/2026-11-19/23-00-00"):
        sweep(tmp_path / "multirun" / name)
    assert sweep_record.find("last") == tmp_path / "multirun" / "B" / "2026-11-20" / "10-00-00"
    assert sweep_record.find("multirun/A") == tmp_path / "multirun" / "A"
    with pytest.raises(UserError, match="name the folder of a sweep, or last"):
        sweep_record.find("")


def test_a_refusal_holds_until_the_job_starts(tmp_path):
    assert sweep_record.refusal(tmp_path) is None
    sweep_record.refuse(tmp_path, "日本: not a number")
    assert sweep_record.refusal(tmp_path) == "日本: not a number"
    sweep_record.refuse(tmp_path, None)
    assert sweep_record.refusal(tmp_path) is None
