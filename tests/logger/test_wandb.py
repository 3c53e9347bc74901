"""A real offline run is read back from its .wandb file; a server that does not answer costs one line."""

import csv
import json
import struct
import subprocess
import sys
import time
from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import wandb
from runs import REPOSITORY, record
from servers import silent_server
from torch import nn
from wandb.proto.wandb_internal_pb2 import Record

from logger.wandb import WandB, Watch, find_mode, histogram

PATIENT = "guard.patience=60"  # seconds: a busy machine may need more than the default to begin
SHORT = ("data=digits", "model=cnn", "loggers=[wandb]", "callbacks=[basic,monitor]", "hparams.max_epochs=2", PATIENT)
KEY = "0123456789abcdef" * 2 + "01234567"
RECORD = {"status": "finished", "metrics": {"test_accuracy": 0.5}}

pytestmark = pytest.mark.usefixtures("nobody_is_logged_in")


def parts(folder):
    """Return the .wandb files of a run, oldest first, each as a list of records: LevelDB's log format."""
    wandb.teardown()  # the service writes on after a run has finished
    found = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        data, position, whole, records = path.read_bytes(), 7, b"", []
        while position + 7 <= len(data):
            left = 32768 - position % 32768
            if left < 7:
                position += left
                continue
            _, size, kind = struct.unpack("<LHB", data[position : position + 7])
            whole += data[position + 7 : position + 7 + size]
            position += 7 + size
            if kind in (1, 4):  # whole, or the last piece
                records.append(Record.FromString(whole))
                whole = b""
        found.append(records)
    return found


def of(records, kind):
    return [getattr(each, kind) for each in records if each.WhichOneof("record_type") == kind]


def rows(records):
    """Return {step: {name: value}}; names of several parts are joined by a point."""
    return {
        row.step.num: {".".join(item.nested_key): json.loads(item.value_json) for item in row.item}
        for row in of(records, "history")
    }


def settings(records):
    return {item.key: json.loads(item.value_json) for part in of(records, "config") for item in part.update}


def summary(records):
    items = [item for part in of(records, "summary") for item in part.update]
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


@pytest.fixture
def logger(tmp_path):
    """A logger that is open, in a folder of its own."""
    logger = make(tmp_path / "run")
    logger.open()
    return logger


def make(folder, started=None, resumed=None, **options):
    folder.mkdir(exist_ok=True)
    facts = {
        "id": "abcd1234",
        "status": "running",
        "started": datetime.now().astimezone().isoformat(),
        "sweep": None,
        "experiment_name": "E",
        "comment": None,
        "tags": [],
        "host": "h",
    }
    facts |= {"command": "c", "git": None, "settings": {}}
    facts |= {"started": started} if started else {}
    facts |= {"resumed": [{"started": resumed}]} if resumed else {}
    (folder / "run.json").write_text(json.dumps(facts))
    others = {"mode": None, "x_axis": "step", "watch": None, "watch_every": 1, "patience": 10}
    return WandB(str(folder), "P", **(others | options))


def test_a_run_without_a_key_is_recorded_offline(train):
    folder = train(
        *SHORT,
        "comment=what I try, 日本",
        "tags=[first,2]",
        "loggers.wandb.x_axis=examples",
        "+trainer.log_every_n_steps=4",
    )
    (records,) = parts(folder)
    with (folder / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            logged = rows(records)[int(row["step"])]
            for name, value in row.items() - {("step", row["step"])}:
                assert value == "" or logged[name] == float(value)
    (run,) = of(records, "run")
    assert (run.run_id, run.run_group) == (record(folder)["id"], "Default")
    assert run.project == "PatchSets"
    assert (run.display_name, run.notes, list(run.tags)) == (folder.name, "what I try, 日本", ["first", "2"])
    assert run.git.remote_url == run.git.commit == ""
    assert settings(records)["lr"] == 0.003
    assert settings(records)["model"] == "cnn"
    final = record(folder)["metrics"]
    assert {name: summary(records)[name] for name in final} == final
    kinds = {artifact.name.rpartition("-")[0]: artifact.type for artifact in of(records, "artifact")}
    assert kinds["config.yaml"] == kinds["run.json"] == "file"
    assert kinds["source"] == "source"
    assert kinds["checkpoints-best.ckpt"] == "checkpoint"
    assert ("*", "examples") in {(metric.glob_name, metric.step_metric) for metric in of(records, "metric")}
    assert not of(records, "stats")
    assert not of(records, "output_raw")
    assert [ending.exit_code for ending in of(records, "exit")] == [0]


def test_nothing_is_copied_out_of_the_run_folder(train, tmp_path):
    train(*SHORT)
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_nothing_is_printed(train, capfd):
    train(*SHORT)
    captured = capfd.readouterr()
    assert "wandb" not in captured.err
    assert not [line for line in captured.out.splitlines() if line.startswith("wandb")]


def test_a_resumed_run_adds_a_part_with_the_same_id(broken_off, resume):
    folder = broken_off(*SHORT, "+trainer.log_every_n_steps=1", batch=15)
    (first,) = parts(folder)
    assert of(first, "exit")[0].exit_code == 1
    time.sleep(1.1)  # wandb names the parts by seconds
    assert resume(folder) == 0
    _, second = parts(folder)
    assert of(first, "run")[0].run_id == of(second, "run")[0].run_id == record(folder)["id"]
    assert set(rows(first)) | set(rows(second)) >= set(range(20))
    assert of(second, "exit")[0].exit_code == 0


def test_an_interrupted_run_is_recorded_so(broken_off):
    folder = broken_off(*SHORT, "+callbacks.fault.name=SIGTERM", batch=3, fault="Signal", code=143)
    (records,) = parts(folder)
    assert of(records, "exit")[0].exit_code == 130
    assert summary(records)["status"] == "interrupted"


@pytest.mark.processes
def test_the_jobs_of_a_sweep_are_a_group(command, tmp_path):
    assert command("train", *SHORT, "hparams.lr=0.1,0.01", "-m") == 0
    (folder,) = tmp_path.glob("multirun/*/*/*")
    runs = [of(parts(folder / job)[0], "run")[0] for job in "01"]
    assert [run.run_group for run in runs] == 2 * ["/".join(folder.parts[-3:])]
    assert runs[0].run_id != runs[1].run_id


def test_one_step_is_one_row_and_late_values_are_kept(logger):
    logger.log_metrics({"a": 1.0}, 5, seconds=1e9)
    logger.log_metrics({"b": 2.0}, 5, seconds=1e9 + 1)
    logger.log_metrics({"late": 3.0}, 4, seconds=1e9 + 2)
    logger.log_metrics({"test": 4.0}, 6, seconds=1e9 + 3)
    logger.close(RECORD)
    (records,) = parts(logger.folder)
    names = {step: {name for name in row if not name.startswith("_")} for step, row in rows(records).items()}
    assert names == {5: {"a", "b", "late"}, 6: {"test"}}
    assert rows(records)[6]["_timestamp"] == 1e9 + 3


@pytest.mark.parametrize("resumed", [False, True])
def test_the_run_starts_with_its_process_however_late_wandb_is_ready(tmp_path, resumed):
    now = datetime.now().astimezone()
    began = now - timedelta(seconds=1000)
    times = (now - timedelta(days=3), began) if resumed else (began, None)
    logger = make(tmp_path / "run", *(time and time.isoformat() for time in times))
    logger.open()
    logger.close(RECORD)
    (records,) = parts(logger.folder)
    assert of(records, "run")[0].start_time.ToMicroseconds() == pytest.approx(began.timestamp() * 1e6, abs=2)


def test_images_and_histograms(logger):
    counts, edges = np.arange(4), np.linspace(0, 1, 5)
    logger.log_histogram("parameters/w", counts, edges, step=2)
    logger.log_image("pictures/inputs", np.full((3, 5, 3), 7, np.uint8), step=2)
    logger.close(RECORD)
    (records,) = parts(logger.folder)
    row = rows(records)[2]
    assert row["parameters/w.values"] == counts.tolist()
    assert row["parameters/w.bins"] == edges.tolist()
    assert (row["pictures/inputs.height"], row["pictures/inputs.width"]) == (3, 5)
    assert list(logger.folder.glob(f"wandb/*/files/{row['pictures/inputs.path']}"))


def test_points_that_the_server_has_already_are_not_sent_again(logger):
    logger.known = 5
    logger.log_metrics({"a": 1.0}, 4, seconds=1e9)
    logger.log_metrics({"a": 2.0}, 5, seconds=1e9)
    logger.close(RECORD)
    (records,) = parts(logger.folder)
    assert list(rows(records)) == [5]


@pytest.fixture
def model():
    """The part of a Classifier in a Trainer that is watched."""
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(_batches_that_stepped=3))
    return SimpleNamespace(network=nn.Linear(2, 1), trainer=SimpleNamespace(fit_loop=loop))


@pytest.mark.parametrize(("what", "kinds"), [("gradients", {"gradients"}), ("all", {"gradients", "parameters"})])
def test_parameters_and_gradients_of_every_nth_batch_are_watched(model, what, kinds):
    watch = Watch(what, 2)
    watch.begin(model)
    watch.begin(model)  # Lightning asks again before the test
    for _ in range(4):
        model.network(torch.ones(5, 2)).sum().backward()
    assert list(watch.take(2)) == []
    taken = list(watch.take(3))
    assert sorted(name for name, *_ in taken) == sorted(
        2 * [f"{kind}/{name}" for kind in kinds for name in ("weight", "bias")]
    )
    gradient = next(counts for name, counts, *_ in taken if name == "gradients/weight")
    assert gradient.sum() == 2
    assert list(watch.take(None)) == []


def test_a_hook_that_fails_ends_the_watch_and_not_the_training(model):
    watch = Watch("all", 1)
    watch.begin(model)
    del model.trainer
    model.network(torch.ones(5, 2)).sum().backward()
    with pytest.raises(AttributeError):
        list(watch.take(None))
    model.trainer = None
    watch.error = None
    model.network(torch.ones(5, 2)).sum().backward()
    assert watch.error is None
    assert not watch.histograms


def test_frozen_and_lazy_parameters_are_not_watched(model):
    model.network = nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(1))
    model.network[0].bias.requires_grad_(False)
    watch = Watch("all", 1)
    watch.begin(model)
    model.network(torch.ones(5, 2)).sum().backward()
    assert {name for name, *_ in watch.take(None)} == {"gradients/0.weight", "parameters/0.weight"}


def test_histograms_count_finite_values():
    counts, edges = histogram(torch.tensor([1.0, 3.0, torch.nan, torch.inf]))
    assert (counts.sum(), edges[0], edges[-1]) == (2, 1, 3)
    assert histogram(torch.tensor([torch.nan]))[0].sum() == 0
    assert histogram(torch.tensor([1.0, 1.0 + 2**-23]))[0].sum() == 2


def test_watching_through_a_whole_run(train):
    folder = train(*SHORT, "loggers.wandb.watch=all", "loggers.wandb.watch_every=10")
    (records,) = parts(folder)
    names = {name.rpartition(".")[0] for row in rows(records).values() for name in row if name.endswith(".values")}
    assert {"gradients/head.2.weight", "parameters/head.2.weight"} <= names


@pytest.mark.processes
def test_a_server_that_does_not_answer_costs_one_line_and_the_key_is_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    command = [sys.executable, str(REPOSITORY / "src" / "train.py"), *SHORT, "guard.patience=2"]
    with silent_server() as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120
        )
        ended = time.time()
    assert done.returncode == 0
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("wandb")]
    assert line.startswith(f"wandb ({url}): no progress at `open` for 2 s (guard.patience); ")
    (folder,) = tmp_path.glob("outputs/*/*/*")
    assert record(folder)["status"] == "finished"
    assert ended - (folder / "run.json").stat().st_mtime < 15  # wandb would wait for its service, 20 s and more
    assert KEY not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


def test_online_without_a_key_is_one_line_and_no_prompt(train):
    log = (train(*SHORT, "loggers.wandb.mode=online") / "train.log").read_text()
    assert "wandb: RuntimeError: no key for https://" in log
    assert ": `wandb login`, WANDB_API_KEY, or loggers.wandb.mode=offline; this run is still recorded by " in log


def test_disabled_writes_nothing(tmp_path):
    logger = make(tmp_path / "run", mode="disabled")
    logger.open()
    logger.log_metrics({"a": 1.0}, 1, seconds=1e9)
    logger.end(RECORD)
    logger.close(RECORD)
    assert [path.name for path in logger.folder.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("mode", "on"), ("x_axis", "epoch"), ("watch", "weights"), ("watch", "false"), ("watch_every", 0)],
)
def test_unknown_options_are_refused(tmp_path, option, value):
    with pytest.raises(ValueError, match=rf"loggers\.wandb\.{option}={value}: must be "):
        make(tmp_path, **{option: value})


def test_one_line_where_it_is_not_installed(command, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert command("train", *SHORT) == 1
    assert "wandb is not installed: uv pip install wandb" in capsys.readouterr().err


def test_offline_without_a_key():
    assert find_mode(None) == "offline"


def test_online_without_a_key_is_an_error_and_no_prompt():
    with pytest.raises(RuntimeError, match=r"^no key for https://.*: `wandb login`, WANDB_API_KEY, or loggers\.wandb"):
        find_mode("online")


def test_online_with_the_key_of_the_environment(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert find_mode(None) == find_mode("online") == "online"
    assert find_mode("offline") == "offline"


def test_online_with_the_key_of_wandb_login(tmp_path):
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    (tmp_path / "netrc").chmod(0o600)
    assert find_mode(None) == "online"


def test_the_environment_chooses_the_mode_where_the_config_does_not(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert find_mode(None) == "disabled"
    assert find_mode("online") == "online"
