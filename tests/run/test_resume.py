import json

import pytest

from process.errors import UserError
from run.resume import compare, describe_changes, earlier_record, find_run, refuse_fixed


def test_a_logger_that_comes_or_goes_is_one_line():
    old = {
        "hparams": {"lr": 0.1},
        "loggers": {"tensorboard": {"_target_": "T", "folder": "f"}, "csv": {"_target_": "C"}},
    }
    new = {
        "hparams": {"lr": 0.01},
        "loggers": {"mlflow": {"_target_": "M", "store": "s"}, "csv": {"_target_": "C", "more": 1}},
    }
    assert describe_changes(compare(old, new)) == [
        "hparams.lr: 0.1 -> 0.01",
        "loggers.csv.more: (not set) -> 1",
        "loggers.mlflow: added",
        "loggers.tensorboard: left out",
    ]


def run(folder, status="interrupted", checkpoint=True):
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "source").mkdir()
    (folder / "run.json").write_text(json.dumps({"status": status}))
    if checkpoint:
        (folder / "checkpoints" / "last.ckpt").touch()
    return folder.absolute()


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_last_is_the_latest_run_that_can_be_resumed(tmp_path):
    with pytest.raises(UserError, match="no interrupted run below outputs/"):
        find_run("last")
    first = run(tmp_path / "outputs/A/2026-11-20/09-00-00")
    job = run(tmp_path / "multirun/A/2026-11-20/10-00-00/10", checkpoint=False)
    run(tmp_path / "multirun/A/2026-11-20/10-00-00/9")
    run(tmp_path / "outputs/A/2026-11-20/11-00-00", status="failed", checkpoint=False)  # it would fail again
    (run(tmp_path / "outputs/A/2026-11-20/12-00-00") / "run.json").write_text("{")
    finished = run(tmp_path / "outputs/B/2026-11-20/13-00-00_x", status="finished")
    assert find_run("last") == job
    assert find_run("last", finished=True) == finished
    assert find_run(str(first)) == first


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"resume=.*: no run folder \(one with run\.json"):
        find_run(str(tmp_path))
    (tmp_path / "sweep.json").touch()
    with pytest.raises(UserError, match=r"a sweep: name one of its jobs, such as .*/0$"):
        find_run(str(tmp_path))


def test_a_job_of_a_sweep_finds_its_earlier_attempt(tmp_path, monkeypatch):
    assert earlier_record(tmp_path) is None
    assert earlier_record(run(tmp_path / "0", status="finished")) == {"status": "finished"}
    assert earlier_record(run(tmp_path / "1", checkpoint=False)) == {"status": "interrupted"}
    killed = run(tmp_path / "2")
    (killed / "source").rename(killed / ".source")  # while the code was copied
    assert earlier_record(killed) is None
    assert not (killed / ".source").exists()
    damaged = run(tmp_path / "3")
    (damaged / "run.json").unlink()
    with pytest.raises(UserError, match=f"run.json is lost or damaged: restore it, or delete {damaged}"):
        earlier_record(damaged)
    monkeypatch.setenv("RANK", "1")
    assert earlier_record(tmp_path / "1") is None  # rank 0 may have just begun it


def test_settings_that_no_checkpoint_can_follow_are_refused(tmp_path):
    def refuse(name, old, new):
        nested = {"hparams": {}, "data": {}}
        change = [{**nested, name.split(".")[0]: {name.split(".")[1]: value}} for value in (old, new)]
        refuse_fixed(compare(*change), tmp_path)

    refuse("hparams.lr", 0.1, 0.01)
    refuse("data.num_workers", 0, 2)
    for name, old, new in [("hparams.seed", 0, 1), ("data.valid", 0, 5)]:
        with pytest.raises(UserError, match=f"{name}: {old} -> {new} cannot change in a resumed run.*init_from="):
            refuse(name, old, new)
    with pytest.raises(UserError, match="learning-rate finder runs only at the start"):
        refuse("hparams.lr", 0.1, 0)
