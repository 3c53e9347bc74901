"""Ctrl-C and SIGTERM: the first one saves and ends the run, a second one ends it at once; a sweep ends with its job."""

import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest
import warm
from module_run import trained
from resumed import SHORT, assert_same
from runs import REPOSITORY, record

OPTIONS = (*SHORT, "+trainer.log_every_n_steps=2", "model=cnn", "loggers=tensorboard")
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY / "tests" / "support"), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}


# batch 4 is the last of its epoch: the validation comes first
MOMENTS = [("SIGTERM", "train", 0), ("SIGTERM", "train", 4), ("SIGINT", "train", 6), ("SIGHUP", "train", 14)]
MOMENTS += [("SIGINT", "validation", 4), ("SIGTERM", "test", 1)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The uninterrupted run."""
    return trained(tmp_path_factory.mktemp("whole"), *OPTIONS)


@pytest.mark.long
@pytest.mark.parametrize(("name", "during", "batch"), MOMENTS)
def test_a_signal_saves_and_nothing_is_lost(whole, command, tmp_path, capsys, name, during, batch):
    fault = f"+callbacks.fault={{_target_: faults.Signal, name: {name}, batch: {batch}, during: {during}}}"
    handlers = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert command("train", *OPTIONS, fault) == CODES[name]
    said = capsys.readouterr().err
    (broken,) = tmp_path.glob("outputs/*/*/*")
    resume = f"python src/train.py resume={broken.relative_to(tmp_path)}"
    assert said == f"interrupted by {name}; to continue: {resume}\n"
    assert handlers == [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert record(broken)["status"] == "interrupted"
    assert command("train", *shlex.split(resume)[2:], "~callbacks.fault") == 0
    assert_same(whole, broken)


def test_before_training_begins(command, tmp_path):
    assert command("train", *OPTIONS, "data._target_=faults.InterruptedDigits") == 143
    (folder,) = tmp_path.glob("outputs/*/*/*")
    assert record(folder)["status"] == "interrupted"


@pytest.mark.processes
def test_it_ends_a_sweep(command, tmp_path):
    fault = "+callbacks.fault={_target_: faults.Signal, name: SIGINT, batch: 2}"
    assert command("train", *OPTIONS, fault, "hparams.seed=0,1,2", "-m") == 130
    jobs = [path.parent for path in tmp_path.glob("multirun/*/*/*/*/run.json")]
    assert [(path.name, record(path)["status"]) for path in jobs] == [("0", "interrupted")]


@contextmanager
def training_in_terminal(folder):
    """Start a training in a terminal of its own; yield the process, the terminal, and the output up to epoch 3."""
    terminal, inner = pty.openpty()
    start = ["setsid", "--ctty", sys.executable, str(REPOSITORY / "src" / "train.py")]
    streams = {"stdin": inner, "stdout": inner, "stderr": inner}
    with subprocess.Popen(
        [*start, *OPTIONS, "hparams.max_epochs=500"], cwd=folder, env=ENVIRONMENT, **streams
    ) as process:
        os.close(inner)
        said = b""
        while b"  3/500" not in said:
            said += os.read(terminal, 65536)
        yield process, terminal, said


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("setsid") is None, reason="no setsid (util-linux), which gives a process a terminal")
def test_a_terminal_that_is_lost(tmp_path):
    """Closing the terminal sends SIGHUP, while the progress bar still writes to it."""
    with training_in_terminal(tmp_path) as (process, terminal, _):
        os.close(terminal)
        assert process.wait(timeout=60) == 129
    (folder,) = tmp_path.glob("outputs/*/*/*")
    assert record(folder)["status"] == "interrupted"


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("setsid") is None, reason="no setsid (util-linux), which gives a process a terminal")
def test_ctrl_c_in_a_terminal_says_how_to_continue(tmp_path):
    with training_in_terminal(tmp_path) as (process, terminal, said):
        os.write(terminal, b"\x03")
        with suppress(OSError):  # Linux raises EIO once the process has closed its side
            while part := os.read(terminal, 65536):
                said += part
        assert process.wait(timeout=60) == 130
    os.close(terminal)
    (folder,) = tmp_path.glob("outputs/*/*/*")
    lines = said.decode().splitlines()
    last = f"interrupted by SIGINT; to continue: python src/train.py resume={folder.relative_to(tmp_path)}"
    assert lines[-1].endswith(last)


@pytest.mark.processes
def test_a_second_signal_ends_at_once(tmp_path):
    hang = "+callbacks.fault={_target_: faults.Hang, batch: 2}"
    command = (str(REPOSITORY / "src" / "train.py"), *OPTIONS, hang)
    with warm.Process(*command, cwd=tmp_path, variables=ENVIRONMENT, merged=True) as process:
        while "hanging" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        while process.poll() is None:  # a machine that stalls may take two for one
            process.send_signal(signal.SIGINT)
            process.wait(timeout=10)
        assert "interrupted by SIGINT, at once; to continue: python src/train.py resume=" in process.stdout.read()
    assert process.returncode == 130
    (folder,) = tmp_path.glob("outputs/*/*/*")
    assert record(folder)["status"] == "interrupted"
