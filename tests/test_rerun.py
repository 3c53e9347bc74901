import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from module_run import trained
from resumed import SHORT
from runs import REPOSITORY, record

import rerun
from process.gpus import GPU

OPTIONS = (*SHORT, "model=cnn", "hparams.max_epochs=1", "loggers=none", "comment=a, b=c")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("finished"), *OPTIONS)


@pytest.fixture
def old(finished, tmp_path):
    """A copy of a finished run, which the test may change."""
    return shutil.copytree(finished, tmp_path / finished.relative_to(finished.parents[3]))


@pytest.mark.processes
def test_the_metrics_agree(old, command, tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(os.environ, "COLUMNS", "200")
    assert command("rerun", str(old)) == 0
    (new,) = set(tmp_path.glob("outputs/*/*/*")) - {old}
    assert "_a-b=c" in new.name
    assert record(new)["metrics"] == record(old)["metrics"]
    assert (new / "metrics.csv").read_bytes() == (old / "metrics.csv").read_bytes()
    said = capfd.readouterr().out
    assert "code and versions are those of the run" in said
    assert "the metrics are the same" in said


@pytest.mark.processes
def test_the_recorded_code_runs_and_what_differs_is_said(old, command, tmp_path, capfd):
    model = old / "source" / "src" / "model.py"
    model.write_text(model.read_text() + "\nprint('the recorded model')\n")
    facts = record(old)
    facts["versions"]["torch"] = "1.0"
    facts["metrics"]["test_accuracy"] = 2
    (old / "run.json").write_text(json.dumps(facts))
    assert command("rerun", str(old), "trainer.precision=64-true", "trust=true") == 0
    said = capfd.readouterr().out
    assert "torch: 1.0 -> " in said
    assert "Differing: src/model.py" in said
    assert "the recorded model" in said
    assert "test_accuracy: 2 -> 0." in said
    assert "the metrics differ" in said
    (new,) = set(tmp_path.glob("outputs/*/*/*")) - {old}
    assert record(new)["settings"]["trainer.precision"] == "64-true"


@pytest.mark.parametrize(
    ("recorded", "gpus", "lines"),
    [
        ({"torch": "2.15.0+cu132", "CUDA": "13.2", "driver": "580.95"}, ["A"], []),
        ({"torch": "2.15.0"}, None, []),  # a run of an older version recorded no build
        ({"torch": "2.14.0"}, None, ["torch: 2.14.0 -> 2.15.0"]),
        (
            {"torch": "2.10.0+cu128", "CUDA": "12.8", "driver": None},
            [],
            ["torch: 2.10.0+cu128 -> 2.15.0+cu132", "CUDA: 12.8 -> 13.2", "driver: none -> 580.95", "GPUs: none -> A"],
        ),
    ],
)
def test_the_build_of_torch_the_driver_and_the_gpus_are_compared(tmp_path, monkeypatch, recorded, gpus, lines):
    here = {"torch": "2.15.0+cu132", "CUDA": "13.2", "driver": "580.95"}
    monkeypatch.setattr(rerun, "versions", lambda: here)
    monkeypatch.setattr(rerun, "usable_gpus", lambda: [GPU(0, "A", None, None, None, "GPU-a", None)])
    facts = {"versions": recorded, "python": platform.python_version()} | ({} if gpus is None else {"gpus": gpus})
    assert [line for line in rerun.differences(tmp_path, facts) if " -> " in line] == lines


def test_a_folder_that_is_no_run(command, tmp_path, capsys):
    assert command("rerun", str(tmp_path)) == 1
    assert "no run folder" in capsys.readouterr().err


@pytest.mark.processes
def test_a_run_that_fails_again(old, command, capfd):
    assert command("rerun", str(old), "hparams.batch_size=0") == 1
    assert "hparams.batch_size=0: must be a whole number >= 1" in capfd.readouterr().err


@pytest.mark.processes
def test_a_signal_reaches_the_training(old, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "tests" / "support")}
    hang = "+callbacks.fault={_target_: faults.Hang, batch: 2}"
    command = [sys.executable, "-u", str(REPOSITORY / "src" / "rerun.py"), str(old), hang]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **streams) as process:
        while "hanging" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)  # waits for the batch
        time.sleep(0.5)
        while process.poll() is None:  # a machine that stalls may take two for one
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
        assert "interrupted by SIGTERM, at once" in process.stdout.read()
    assert process.returncode == 143
    (new,) = set(tmp_path.glob("outputs/*/*/*")) - {old}
    assert record(new)["status"] == "interrupted"
