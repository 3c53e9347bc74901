"""MLflow's own client reads back a run: from its database, through its server, and where a server fails."""

import re
from datetime import datetime
from zipfile import ZipFile

import pytest
import torch
import warm
from mlflow import MlflowClient
from runs import REPOSITORY, record
from servers import free_port, mlflow_server, silent_server

from logger.mlflow import PATH_COLUMNS, Store

PATIENT = "guard.patience=60"  # seconds: a busy machine needs more than the default to create a database
SHORT = ("data=digits", "model=cnn", "hparams.max_epochs=1", "data.limit_train=256", "loggers=mlflow", PATIENT)
LONG = ("data=digits", "model=cnn", "hparams.max_epochs=3", "hparams.batch_size=64", "data.limit_train=640", PATIENT)


@pytest.fixture
def store(tmp_path, monkeypatch, one_mlflow_store):
    """A store for this test alone, at the place that runs use by default."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return Store(tmp_path / "mlruns")


def runs(uri):
    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client, client.search_runs(experiments)


def times(run):
    return run.info.start_time, run.info.end_time


def recorded_times(folder):
    """Return `started` and `ended` of run.json in milliseconds."""
    facts = record(folder)
    return tuple(round(1000 * datetime.fromisoformat(facts[name]).timestamp()) for name in ("started", "ended"))


def test_a_run_is_recorded_with_curves_settings_tags_and_files(train, store):
    folder = train(*SHORT, "comment=what I *try*", "tags=[first,2]")
    client, (run,) = runs(store.uri)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == folder.name
    assert times(run) == recorded_times(folder)
    final = {f"final/{name}": value for name, value in record(folder)["metrics"].items()}
    assert {name: run.data.metrics[name] for name in final} == final
    assert run.data.params["lr"] == "0.003"
    assert run.data.params["model"] == "cnn"
    assert run.data.tags["mlflow.note.content"] == "what I &#42;try&#42;"
    assert run.data.params["comment"] == "what I *try*"
    assert run.data.tags["first"] == run.data.tags["2"] == "true"
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"config.yaml", "source", "run.json", "train.log", "metrics.csv", "checkpoints"} <= names
    best = client.download_artifacts(run.info.run_id, "checkpoints/best.ckpt")
    assert "state_dict" in torch.load(best, weights_only=True)
    assert (store.folder / "artifacts").exists()
    assert not any((folder.parents[3] / name).exists() for name in ("mlflow.db", "artifacts"))


def test_the_database_has_the_columns_that_hold_paths(store):
    """MLflow does not document its database: a version that moves a path must be noticed."""
    import sqlite3

    store.prepare()
    with sqlite3.connect(store.database) as connection:
        for table, column in PATH_COLUMNS:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            assert column in columns, f"logger/mlflow.py needs the column {table}.{column}"


def test_the_database_has_a_write_ahead_log(store):
    import sqlite3

    store.prepare()
    with sqlite3.connect(store.database) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.long
def test_a_resumed_run_continues_the_same_run_with_each_point_once(broken_off, resume, store):
    folder = broken_off(*LONG, "loggers=mlflow", "+trainer.log_every_n_steps=2", batch=17)
    client, (run,) = runs(store.uri)
    assert run.info.status == "FAILED"
    assert "crashed" in run.data.tags["error"]
    assert times(run) == recorded_times(folder)
    assert resume(folder) == 0
    client, (run,) = runs(store.uri)
    assert run.info.status == "FINISHED"
    assert "error" not in run.data.tags
    assert times(run) == recorded_times(folder)
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "train_loss_step")]
    assert steps == sorted(set(steps))
    assert steps[-1] == 29


def test_an_interrupted_run_has_status_killed(broken_off, store):
    broken_off(*SHORT, "hparams.batch_size=32", "+callbacks.fault.name=SIGTERM", batch=3, fault="Signal", code=143)
    _, (run,) = runs(store.uri)
    assert run.info.status == "KILLED"


@pytest.mark.long
def test_points_that_are_missing_come_on_resume(broken_off, resume, store):
    folder = broken_off(*LONG, "loggers=none", "+trainer.log_every_n_steps=2", batch=17)
    assert resume(folder, "loggers=mlflow") == 0
    client, (run,) = runs(store.uri)
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "train_loss_step")]
    assert sorted(steps) == list(range(1, 30, 2))


def test_a_workspace_that_is_moved(train, tmp_path, store, monkeypatch):
    first = train(*SHORT)
    (tmp_path / "moved").mkdir()
    for name in ("mlruns", "outputs"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    moved = Store(tmp_path / "moved" / "mlruns")
    moved.prepare()
    client, (run,) = runs(moved.uri)
    assert run.info.run_name == first.name
    assert "config.yaml" in {file.path for file in client.list_artifacts(run.info.run_id)}
    assert client.get_experiment(run.info.experiment_id).artifact_location == f"{moved.artifact_root}/0"


@pytest.mark.processes
def test_the_jobs_of_a_sweep_are_children_of_one_run(command, tmp_path, store):
    assert command("train", *SHORT, "hparams.lr=0.1,0.01", "-m") == 0
    _, found = runs(store.uri)
    (parent,) = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    jobs = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {run.data.params["lr"] for run in jobs} == {"0.1", "0.01"}
    assert [run.info.status for run in found] == 3 * ["FINISHED"]
    folders = {folder.name: folder for folder in tmp_path.glob("multirun/*/*/*/*") if (folder / "run.json").exists()}
    for run in jobs:
        assert times(run) == recorded_times(folders[run.info.run_name])
    starts, ends = zip(*(times(run) for run in jobs), strict=True)
    assert times(parent) == (min(starts), max(ends))


@pytest.mark.processes
def test_a_job_that_fails_before_its_training_is_a_failed_child(command, store):
    assert command("train", *SHORT, "hparams.optimizer=SGD,NoSuch", "-m") == 1
    _, found = runs(store.uri)
    assert sorted(run.info.status for run in found) == ["FAILED", "FAILED", "FINISHED"]  # a job, the sweep; a job


@pytest.mark.processes
def test_four_processes_on_a_store_that_is_not_there_yet(tmp_path, store):
    command = (str(REPOSITORY / "src" / "train.py"), *SHORT, "callbacks=[basic]")
    jobs = [warm.Process(*command, f"hparams.seed={seed}", cwd=tmp_path) for seed in range(4)]
    for job in jobs:
        out, err = job.communicate()
        assert job.returncode == 0, err
        assert "still recorded by" not in out + err
    _, found = runs(store.uri)
    assert sorted(run.data.params["seed"] for run in found) == ["0", "1", "2", "3"]
    assert {run.info.status for run in found} == {"FINISHED"}


@pytest.mark.processes
def test_an_experiment_that_was_made_on_the_page_of_the_server(train, tmp_path, store):
    with mlflow_server(tmp_path) as (address, _):
        theirs = MlflowClient(address).create_experiment("page")
        assert MlflowClient(address).get_experiment(theirs).artifact_location.startswith("mlflow-artifacts:")
        train(*SHORT, "experiment_name=page")
        client, (run,) = runs(address)
        assert "run.json" in {file.path for file in client.list_artifacts(run.info.run_id)}


@pytest.mark.processes
def test_through_a_server(train, tmp_path, monkeypatch, store):
    with mlflow_server(tmp_path) as (address, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        train(*SHORT)
        client, (run,) = runs(address)
        assert run.info.status == "FINISHED"
        assert {"checkpoints", "source.zip"} <= {file.path for file in client.list_artifacts(run.info.run_id)}
        with ZipFile(client.download_artifacts(run.info.run_id, "source.zip")) as source:
            assert source.read("src/train.py") == (REPOSITORY / "src" / "train.py").read_bytes()


def only_line(capfd):
    """Return the line that reports MLflow; there must be exactly one."""
    out, err = capfd.readouterr()
    lines = [line for line in (out + err).splitlines() if "still recorded by" in line]
    assert "Traceback" not in out + err
    assert len(lines) == 1, out + err
    return lines[0]


def test_a_server_that_is_absent(train, monkeypatch, store, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:topsecret99@127.0.0.1:{free_port()}")
    folder = train(*SHORT)
    assert record(folder)["status"] == "finished"
    line = only_line(capfd)
    assert "Connection refused" in line
    assert "topsecret99" not in line
    for path in folder.rglob("*"):
        assert not path.is_file() or b"topsecret99" not in path.read_bytes(), path


@pytest.mark.processes
def test_only_the_end_waits_for_a_server_that_never_answers_and_no_longer_than_its_patience(
    train, monkeypatch, store, capfd
):
    with silent_server() as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        train(*[option for option in SHORT if option != PATIENT], "guard.patience=2", "guard.limit=500")
    assert "no progress at `open` for 2 s (guard.patience); " in only_line(capfd)


@pytest.mark.processes
@pytest.mark.parametrize("during", ["train", "test"])
def test_a_server_that_is_killed_during_the_run(train, tmp_path, monkeypatch, store, capfd, during):
    with mlflow_server(tmp_path) as (address, server):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        fault = {"_target_": "faults.KillServer", "pid": server.pid, "batch": 1, "during": during}
        folder = train(*SHORT, "hparams.batch_size=16", *(f"+callbacks.fault.{name}={fault[name]}" for name in fault))
    assert record(folder)["status"] == "finished"
    # aborted if a request was under way when the server died, else refused
    assert re.search("Connection (refused|aborted)", only_line(capfd))
