"""The end of a run that waits for a slow logger says so, on a terminal and in a file, and Ctrl-C ends the wait."""

import os
import pty
import re
import signal

import pytest
import warm
from runs import REPOSITORY, record

pytestmark = pytest.mark.processes
SHORT = ("data=digits", "model=cnn", "hparams.max_epochs=1", "data.limit_train=256", "callbacks=[basic]")
LINE = re.compile(r"waiting for slow, (\d+) s at most; Ctrl-C leaves now")


def command(seconds):
    slow = f"+loggers.slow={{_target_: slow_logger.Slow, seconds: {seconds}}}"
    return (str(REPOSITORY / "src" / "train.py"), *SHORT, "loggers=none", slow)


@pytest.fixture(autouse=True)
def support(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "tests" / "support"))


def test_a_terminal_counts_down_and_ctrl_c_leaves_a_finished_run(tmp_path):
    terminal, inner = pty.openpty()
    variables = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    process = warm.start(command(600), tmp_path, inner, inner, variables)
    os.close(inner)
    shown, seconds, is_interrupted = "", [], False
    while True:
        try:
            shown += os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # the process has ended
            break
        seconds = [int(number) for number in LINE.findall(shown)]
        if len(set(seconds)) >= 3 and not is_interrupted:
            os.kill(process.pid, signal.SIGINT)
            is_interrupted = True
    os.close(terminal)
    process.join()
    assert process.exitcode == 130
    assert seconds == sorted(seconds, reverse=True)
    assert min(seconds) > 0
    (folder,) = tmp_path.glob("outputs/*/*/*")
    assert record(folder)["status"] == "finished"
    assert "slow: still at `close` when the wait was interrupted; this run is still recorded by metrics.csv" in shown
    assert "Traceback" not in shown


def test_a_file_gets_one_line(tmp_path):
    out, _ = warm.Process(*command(5), cwd=tmp_path, variables=dict(os.environ), merged=True).communicate()
    assert len(LINE.findall(out)) == 1
    assert "still at" not in out
