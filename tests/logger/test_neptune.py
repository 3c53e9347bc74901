"""A real offline run is read back from the file that `neptune sync` uploads: one operation per line."""

import json
import os
import random
import sys

import numpy as np
import pytest
from runs import record

from logger.neptune import Neptune

PATIENT = "guard.patience=60"  # seconds: a busy machine may need more than the default to begin
SHORT = ("data=digits", "model=cnn", "loggers=[neptune]", "callbacks=[basic,monitor]", "hparams.max_epochs=2", PATIENT)
RECORD = {"status": "finished", "metrics": {"test_accuracy": 0.5}}


@pytest.fixture(autouse=True)
def no_account(monkeypatch):
    for name in ("NEPTUNE_API_TOKEN", "NEPTUNE_PROJECT", "NEPTUNE_DATA_DIRECTORY", "NEPTUNE_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which neptune replaces


def parts(folder):
    """Return the operations of a run as {path: [operation, ...]}, for each of its parts, oldest first."""
    logs = sorted(folder.glob("neptune/.neptune/offline/*/data-1.log"), key=lambda path: path.stat().st_mtime)
    found = []
    for path in logs:
        operations = {}
        for line in path.read_text().splitlines():
            operation = json.loads(line)["obj"]
            operations.setdefault("/".join(operation["path"]), []).append(operation)
        found.append(operations)
    return found


def series(operations, name):
    return {value["step"]: value["value"] for operation in operations[name] for value in operation["values"]}


def make(folder, **options):
    folder.mkdir(exist_ok=True)
    facts = {
        "id": "abcd1234",
        "status": "running",
        "sweep": None,
        "experiment_name": "E",
        "comment": None,
        "tags": [],
        "host": "h",
    }
    (folder / "run.json").write_text(json.dumps(facts | {"command": "c", "git": None}))
    return Neptune(str(folder), **({"project": None, "mode": "offline", "patience": 10} | options))


@pytest.fixture
def logger(tmp_path):
    """A logger that is open, in a folder of its own."""
    logger = make(tmp_path / "run")
    logger.open()
    return logger


def test_a_run_is_recorded_offline(train, tmp_path, capfd):
    folder = train(*SHORT, "comment=what I try, 日本", "tags=[first,2]", "+trainer.log_every_n_steps=4")
    (operations,) = parts(folder)
    assert series(operations, "metrics/valid_loss").keys() == {9, 19}
    assert series(operations, "metrics/train_loss_step").keys() == {3, 7, 11, 15, 19}
    final = record(folder)["metrics"]
    assert {name: operations[f"final/{name}"][0]["value"] for name in final} == final
    assert operations["final/status"][0]["value"] == "finished"
    assert operations["sys/failed"][-1]["value"] is False
    assert operations["sys/name"][0]["value"] == folder.name
    assert operations["sys/description"][0]["value"] == "what I try, 日本"
    assert sorted(operations["sys/tags"][0]["values"]) == ["2", "first"]
    assert operations["sys/group_tags"][0]["values"] == ["Default"]
    assert operations["run/id"][0]["value"] == record(folder)["id"]
    assert operations["hparams/lr"][0]["value"] == 0.003
    assert operations["hparams/model"][0]["value"] == "cnn"
    assert operations["files/checkpoints/best.ckpt"][0]["file_path"] == str(folder / "checkpoints" / "best.ckpt")
    assert operations["files/source"][0]["file_globs"] == [f"{folder}/source/**/*"]
    assert not [name for name in operations if name.startswith(("monitoring", "source_code/git"))]
    assert "neptune" not in capfd.readouterr().err
    assert not (tmp_path / ".neptune").exists()
    assert "NEPTUNE_DATA_DIRECTORY" not in os.environ


def test_the_default_network_is_recorded_offline(train):
    folder = train("data=digits", "loggers=[neptune]", "callbacks=[basic]", "hparams.max_epochs=1", PATIENT)
    assert "neptune" not in (folder / "train.log").read_text(encoding="utf-8")
    (operations,) = parts(folder)
    recorded = {name.removeprefix("hparams/"): found for name, found in operations.items() if name[:8] == "hparams/"}
    assert {"model", "model.pool", "model.embed", "lr", "patch_num_max"} <= recorded.keys()
    assert recorded["model"][0]["value"] == "patch_set"
    assert recorded["model.pool"][0]["value"] == "reduce"
    final = {name.replace("/", "."): value for name, value in record(folder)["metrics"].items()}
    assert "test_accuracy.n=16" in final
    assert {name: operations[f"final/{name}"][0]["value"] for name in final} == final
    assert operations["final/status"][0]["value"] == "finished"
    assert {"metrics/train_loss", "metrics/valid_accuracy", "metrics/test_accuracy.n=16"} <= operations.keys()


def test_a_resumed_run_adds_a_part_with_the_same_id(broken_off, resume):
    folder = broken_off(*SHORT, batch=15)
    assert parts(folder)[0]["sys/failed"][-1]["value"] is True
    assert resume(folder) == 0
    first, second = parts(folder)
    assert first["run/id"][0]["value"] == second["run/id"][0]["value"] == record(folder)["id"]
    assert second["sys/failed"][-1]["value"] is False


@pytest.mark.processes
def test_the_jobs_of_a_sweep_each_have_their_folder(command, tmp_path):
    assert command("train", *SHORT, "hparams.lr=0.1,0.01", "-m") == 0
    (folder,) = tmp_path.glob("multirun/*/*/*")
    for job in "01":
        (operations,) = parts(folder / job)
        assert operations["sys/group_tags"][0]["values"] == ["/".join(folder.parts[-3:])]


def test_images_numbers_and_times(logger):
    logger.log_metrics({"a": 1.0, "nan": float("nan")}, 5, seconds=1e9)
    logger.log_image("pictures/inputs", np.full((3, 5, 3), 7, np.uint8), step=2)
    logger.close(RECORD)
    (operations,) = parts(logger.folder)
    assert operations["metrics/a"][0]["values"] == [{"value": 1.0, "step": 5, "ts": 1e9}]
    assert "metrics/nan" not in operations
    ((picture,),) = [operation["values"] for operation in operations["pictures/inputs"]]
    assert picture["step"] == 2
    assert picture["value"]["data"].startswith("iVBOR")  # a PNG


def test_random_numbers_are_the_same_as_without_neptune(tmp_path):
    random.seed(0)
    state = random.getstate()
    logger = make(tmp_path / "run")
    logger.open()
    logger.close(RECORD)
    assert random.getstate() == state


@pytest.mark.parametrize("mode", ["async", "sync", "read-only"])
def test_a_server_needs_a_token(tmp_path, mode):
    with pytest.raises(
        RuntimeError, match=f"^mode={mode} needs NEPTUNE_API_TOKEN; without it: loggers.neptune.mode=offline"
    ):
        make(tmp_path, mode=mode).open()


def test_a_bad_token_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("NEPTUNE_API_TOKEN", "nonsense")
    with pytest.raises(RuntimeError, match=r"^NeptuneInvalidApiTokenException$"):
        make(tmp_path, mode="async", project="a/b").open()


def test_forks_and_the_exit_do_not_wait_for_the_server(tmp_path, monkeypatch):
    """Neptune would wait for its server there, and the training with it, at the start of its workers and its end."""
    run = make(tmp_path, mode="debug")
    run.open()
    hooks = run.experiment
    monkeypatch.setattr(type(hooks).__mro__[1], "stop", lambda *_, **__: pytest.fail("waits"))
    hooks._bg_job.pause = hooks._op_processor.pause = lambda: pytest.fail("waits")
    for hook in (hooks._before_fork, hooks._handle_fork_in_child, hooks._handle_fork_in_parent, hooks._shutdown_hook):
        hook()
    assert hooks.get_state() == "started"


def test_debug_records_nothing(tmp_path):
    logger = make(tmp_path / "run", mode="debug")
    logger.open()
    logger.log_metrics({"a": 1.0}, 5, seconds=1e9)
    logger.end(RECORD)
    logger.close(RECORD)
    assert not list((logger.folder / "neptune").rglob("data-*.log"))


def test_an_unknown_mode_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"loggers\.neptune\.mode=online: must be one of offline, async"):
        make(tmp_path, mode="online")


def test_one_line_where_it_is_not_installed(command, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "neptune", None)
    assert command("train", *SHORT) == 1
    assert "neptune is not installed: uv pip install neptune-client" in capsys.readouterr().err


def test_names_that_continue_another_name_are_recorded_beside_it(logger):
    """Neptune refuses a field below another field."""
    logger.log_hyperparams({"model": "patch_set", "model/pool": "reduce"})
    values = {"test_accuracy": 0.5, "test_accuracy/n=4": 0.25}
    logger.log_metrics(values, 5, seconds=1e9)
    record = {"status": "finished", "metrics": values}
    logger.end(record)
    logger.close(record)
    (operations,) = parts(logger.folder)
    assert operations["hparams/model"][0]["value"] == "patch_set"
    assert operations["hparams/model.pool"][0]["value"] == "reduce"
    assert series(operations, "metrics/test_accuracy.n=4") == {5: 0.25}
    assert operations["final/test_accuracy"][0]["value"] == 0.5
    assert operations["final/test_accuracy.n=4"][0]["value"] == 0.25
