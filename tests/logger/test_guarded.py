"""A logger may raise, hang or be slow at any moment: it is reported in one line, and the training never waits."""

import json
import logging
import subprocess
import sys
import threading
import time

import numpy
import pytest
import recorder

from logger.guarded import describe_error, guard
from logger.metrics_csv import MetricsCSV
from logger.run_logger import RunLogger

RECORD = {"status": "finished", "metrics": {}}


class Recorder(RunLogger):
    """Logger that remembers its calls, and their threads."""

    def __init__(self, folder, fails_at=None, error=None, hangs_at=None):
        super().__init__(str(folder))
        self.called, self.threads = [], set()
        self.fails_at, self.error, self.hangs_at = fails_at, error, hangs_at
        self.freed = threading.Event()

    def _note(self, name, *arguments):
        self.called.append((name, *arguments))
        self.threads.add(threading.current_thread())
        if name == self.fails_at:
            raise self.error
        if name == self.hangs_at:
            self.freed.wait()  # a wait for this call without a limit never ends

    def wait_until_it_hangs(self):
        while not self.called or self.called[-1][0] != self.hangs_at:
            time.sleep(0.01)

    def open(self):
        self._note("open")

    def log_hyperparams(self, params):
        self._note("log_hyperparams", params)

    def log_metrics(self, metrics, step, seconds):
        self._note("log_metrics", metrics, step)

    def log_artifact(self, path):
        self._note("log_artifact", path.name)

    def flush(self):
        self._note("flush")

    def end(self, record):
        self._note("end")

    def close(self, record):
        self._note("close", record["status"])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("logger.guarded.INTERVAL", 0.01)


def guarded(tmp_path, *loggers, patience=10.0, limit=120.0, artifacts=(), names=None):
    files = {"start": [], "end": list(artifacts)}
    names = names or [f"number{i}" for i in range(len(loggers))]
    return guard(list(loggers), names, patience, limit, str(tmp_path), files)


def test_every_call_arrives_in_order_in_another_thread(tmp_path):
    (tmp_path / "run.json").touch()
    inner = Recorder(tmp_path)
    (logger,) = guarded(tmp_path, inner, artifacts=["run.json", "missing.csv"])
    logger.log_hyperparams({"lr": 0.1})
    for step in range(100):
        logger.log_metrics({"loss": step}, step)
    logger.close(RECORD)
    called = [call for call in inner.called if call[0] != "flush"]
    steps = [("log_metrics", {"loss": step}, step) for step in range(100)]
    files = [("end",), ("log_artifact", "run.json"), ("close", "finished")]
    assert called == [("open",), ("log_hyperparams", {"lr": 0.1}), *steps, *files]
    assert threading.current_thread() not in inner.threads


def test_metrics_csv_has_no_guard(tmp_path):
    csv = MetricsCSV(str(tmp_path))
    assert guarded(tmp_path, csv) == [csv]


@pytest.mark.parametrize("moment", ["open", "log_metrics", "flush", "end", "close"])
def test_the_first_failure_is_reported_once_and_is_the_last_call(tmp_path, caplog, moment):
    failing = Recorder(tmp_path, fails_at=moment, error=ConnectionRefusedError(111, "Connection refused"))
    healthy = Recorder(tmp_path)
    loggers = guarded(tmp_path, failing, healthy, names=["mlflow", "tensorboard"])
    for step in range(5):
        for logger in loggers:
            logger.log_metrics({"loss": 1.0}, step)
        time.sleep(0.02)
    for logger in loggers:
        logger.close(RECORD)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line == "mlflow: Connection refused; this run is still recorded by metrics.csv and tensorboard"
    assert failing.called[-1][0] == moment
    assert [call[0] for call in healthy.called].count("log_metrics") == 5
    assert healthy.called[-1] == ("close", "finished")


def test_nothing_follows_the_close_even_if_the_thread_wakes_late(tmp_path, monkeypatch):
    inner = Recorder(tmp_path)
    (logger,) = guarded(tmp_path, inner)
    monkeypatch.setattr(logger.closing, "wait", lambda seconds: time.sleep(seconds))
    logger.log_metrics({}, 0)
    logger.close(RECORD)
    assert not logger.thread.is_alive()
    assert inner.called[-1] == ("close", "finished")


def test_system_exit_of_a_library_disables_only_the_logger(tmp_path, caplog):
    (logger,) = guarded(tmp_path, Recorder(tmp_path, fails_at="open", error=SystemExit("no")))
    logger.log_metrics({}, 0)
    logger.close(RECORD)
    assert "SystemExit: no" in caplog.text


def test_the_end_waits_for_all_loggers_that_hang_together_no_longer_than_its_patience(tmp_path, caplog):
    silent = [Recorder(tmp_path, hangs_at="open"), Recorder(tmp_path, hangs_at="log_metrics")]
    loggers = guarded(tmp_path, *silent, patience=0.5)
    for logger in loggers:
        logger.log_metrics({}, 0)
    for inner in silent:
        inner.wait_until_it_hangs()
    start = time.monotonic()
    for logger in loggers:
        logger.close(RECORD)
    assert 0.5 <= time.monotonic() - start < 60  # and not the limit
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        f"number{i}: no progress at `{call}` for 0.5 s (guard.patience); this run is still recorded by metrics.csv"
        for i, call in enumerate(["open", "log_metrics"])
    ]
    for inner in silent:
        inner.freed.set()
    for logger in loggers:
        logger.thread.join()
    assert all(call[0] != "close" for inner in silent for call in inner.called)


class Slow(Recorder):
    """Logger that needs many times the patience to close, and does something all the time."""

    def __init__(self, folder, seconds):
        super().__init__(folder)
        self.seconds, self.freed = seconds, threading.Event()

    def close(self, record):
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and not self.freed.is_set():
            self.work()
        super().close(record)

    def work(self):
        """Compute."""


class SlowInAnotherProcess(Slow):
    def work(self):
        code = "import time\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass"
        subprocess.run([sys.executable, "-c", code], check=True)


class SlowReader(Slow):
    def work(self):
        (self.folder / "a file").write_bytes(bytes(100_000))
        time.sleep(0.1)


class InLine(Slow):
    def work(self):
        self.in_line = True
        time.sleep(0.1)


@pytest.mark.processes
@pytest.mark.parametrize("kind", [Slow, SlowInAnotherProcess, SlowReader, InLine])
def test_the_end_waits_for_a_logger_that_makes_progress(tmp_path, caplog, kind):
    slow, silent = kind(tmp_path, seconds=5), Recorder(tmp_path, hangs_at="open")
    loggers = guarded(tmp_path, slow, silent, patience=1.5, names=["slow", "silent"])
    for logger in loggers:
        logger.log_metrics({}, 0)
    for logger in loggers:
        logger.close(RECORD)
    assert slow.called[-1] == ("close", "finished")
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith("silent: no progress at `open` for 1.5 s (guard.patience); ")
    assert line.endswith("recorded by metrics.csv and slow")
    silent.freed.set()


def test_calls_that_are_completed_are_progress(tmp_path, caplog):
    class Steps(Recorder):
        def log_metrics(self, metrics, step, seconds):
            super().log_metrics(metrics, step, seconds)
            time.sleep(0.1)

    inner = Steps(tmp_path)
    (logger,) = guarded(tmp_path, inner, patience=1.0)
    for step in range(30):
        logger.log_metrics({}, step)
    logger.close(RECORD)
    assert inner.called[-1] == ("close", "finished")
    assert not caplog.records or "no progress" not in caplog.text


@pytest.mark.parametrize(
    ("status", "limit", "words"), [("finished", 1.5, "1.5 s {}limit)"), ("interrupted", 600, "0.5 s {}patience)")]
)
def test_a_logger_that_spins_is_left_at_the_limit_and_in_an_interrupted_run_after_the_patience(
    tmp_path, caplog, status, limit, words
):
    spinning = Slow(tmp_path, seconds=600)
    spinning.remedy = "`sync` sends the rest"
    (logger,) = guarded(tmp_path, spinning, patience=0.5, limit=limit)
    logger.log_metrics({}, 0)
    start = time.monotonic()
    logger.close({**RECORD, "status": status})
    assert time.monotonic() - start < 60
    line = caplog.records[-1].getMessage()
    where = "this run is still recorded by metrics.csv"
    assert line == f"number0: still at `close` {words.format('after the end (guard.')}, `sync` sends the rest; {where}"
    spinning.freed.set()
    logger.thread.join()


def test_one_message_says_for_what_the_end_waits(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("logger.countdown.SILENT", 0.0)
    caplog.set_level(logging.INFO)
    loggers = guarded(tmp_path, Slow(tmp_path, 1), Slow(tmp_path, 1), names=["mlflow", "wandb"])
    for logger in loggers:
        logger.log_metrics({}, 0)
    loggers[0].close(RECORD)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "waiting for mlflow and wandb, 120 s at most; Ctrl-C leaves now"


def test_a_logger_that_hangs_during_the_run_is_disabled_and_its_queue_is_freed(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("logger.guarded.TIMEOUT", 0.1)
    inner = Recorder(tmp_path, hangs_at="open")
    (logger,) = guarded(tmp_path, inner)
    logger.log_metrics({}, 0)
    inner.wait_until_it_hangs()
    for step in range(1000):
        logger.log_metrics({}, step)
        if logger.disabled:
            break
        time.sleep(0.1)
    assert "no progress at `open` for 0.1 s" in caplog.text
    assert len(caplog.records) == 1
    assert not logger.calls
    inner.freed.set()
    logger.close(RECORD)


class SpinsAtOpen(Slow):
    def open(self):
        while not self.freed.is_set():
            pass


def test_a_logger_that_makes_progress_in_a_long_call_stays_until_the_limit(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("logger.guarded.TIMEOUT", 0.1)
    inner = SpinsAtOpen(tmp_path, 0)
    (logger,) = guarded(tmp_path, inner, patience=0.0, limit=2.0)
    start = time.monotonic()
    while not logger.disabled:
        logger.log_metrics({}, 0)
        time.sleep(0.01)
    assert time.monotonic() - start >= 2
    assert "number0: `open` has computed for 2 s (guard.limit); " in caplog.text
    inner.freed.set()
    logger.close(RECORD)


def test_a_logger_without_calls_is_not_opened(tmp_path):
    inner = Recorder(tmp_path)
    (logger,) = guarded(tmp_path, inner)
    logger.close(RECORD)
    assert inner.called == []


def test_a_job_of_a_sweep_is_recorded_even_if_it_failed_before_it_logged(tmp_path):
    inner = Recorder(tmp_path)
    (logger,) = guarded(tmp_path, inner)
    logger.close({**RECORD, "status": "failed", "sweep": "Default/2026-11-20/09-00-00"})
    assert [call for call in inner.called if call[0] != "flush"] == [("open",), ("end",), ("close", "failed")]


def test_a_signal_at_the_end_shortens_the_wait_and_spares_the_other_loggers(tmp_path, monkeypatch):
    silent, healthy = Recorder(tmp_path, hangs_at="open"), Recorder(tmp_path)
    loggers = guarded(tmp_path, silent, healthy)
    for logger in loggers:
        logger.log_metrics({}, 0)
    wait, signals = loggers[0].done.wait, [KeyboardInterrupt]

    def interrupted_once(seconds):
        if signals:
            raise signals.pop()
        return wait(seconds)

    monkeypatch.setattr(loggers[0].done, "wait", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        loggers[0].close(RECORD)
    loggers[1].thread.join()
    assert healthy.called[-1] == ("close", "finished")
    assert not loggers[1].disabled
    silent.freed.set()


def test_other_ranks_log_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    inner = Recorder(tmp_path)
    (logger,) = guarded(tmp_path, inner)
    logger.log_metrics({}, 0)
    logger.close(RECORD)
    assert inner.called == []


def test_methods_of_the_library_can_be_called_in_the_guard(tmp_path, caplog):
    class Writer:
        def __init__(self):
            self.plots = self
            self.added = []

        def add(self, name, value):
            self.added.append((name, value))

    inner = Recorder(tmp_path)
    inner.experiment = writer = Writer()
    (logger,) = guarded(tmp_path, inner)
    logger.experiment.plots.add("a", value=1)
    logger.close(RECORD)
    assert writer.added == [("a", 1)]
    assert not caplog.records


def test_a_dictionary_that_changes_later_is_logged_as_it_was(tmp_path):
    inner = Recorder(tmp_path)
    (logger,) = guarded(tmp_path, inner)
    metrics = {"loss": 1.0}
    logger.log_metrics(metrics, 3)
    metrics.clear()
    logger.close(RECORD)
    assert ("log_metrics", {"loss": 1.0}, 3) in inner.called


def test_a_logger_of_lightning_is_guarded_too(tmp_path):
    from pytorch_lightning.loggers import CSVLogger

    (logger,) = guarded(tmp_path, CSVLogger(tmp_path, name="theirs", version="0"))
    logger.log_hyperparams({"lr": 0.1})
    logger.log_metrics({"loss": 1.5}, 7)
    logger.log_image("picture", None, 0)
    logger.close(RECORD)
    assert "1.5" in (tmp_path / "theirs" / "0" / "metrics.csv").read_text()


def test_secrets_in_an_error_are_not_reported(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "verysecret123")
    (logger,) = guarded(tmp_path, Recorder(tmp_path, fails_at="open", error=RuntimeError("401 for verysecret123")))
    logger.log_metrics({}, 0)
    logger.close(RECORD)
    assert "401 for ***" in caplog.text
    assert "verysecret123" not in caplog.text


def test_an_error_is_described_by_the_operating_systems_message():
    error = ValueError("a long story")
    error.__cause__ = OSError(28, "No space left on device", "/data/file")
    assert describe_error(error) == "No space left on device: /data/file"
    assert describe_error(ValueError("bad token\n\n  and more")) == "ValueError: bad token and more"
    assert describe_error(KeyError()) == "KeyError"


IMAGE = numpy.zeros((2, 4, 3), dtype=numpy.uint8)


class Ended(recorder.Recorder):
    """Logger of a run that has ended: it writes its images to files, and notes the names of all calls."""

    def __init__(self, folder):
        super().__init__(folder)
        self.called = []

    def __getattribute__(self, name):
        if name in ("open", "log_metrics", "log_hyperparams", "log_image", "log_artifact", "end", "close"):
            self.called.append(name)
        return super().__getattribute__(name)


@pytest.fixture
def ended_run(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(RECORD))
    (tmp_path / "config.yaml").write_text("a: 1")
    (tmp_path / "metrics.csv").write_text("epoch,step,train_loss\n0,10,2\n1,20,1\n")
    return tmp_path


def guard_ended(folder, *loggers):
    names = [f"number{i}" for i in range(len(loggers))]
    return guard(list(loggers), names, 5.0, 5.0, str(folder), {"start": [], "end": []}, images_only=True)


def test_a_run_that_has_ended_receives_images_at_its_last_step_and_nothing_else(ended_run):
    inner = Ended(ended_run)
    (only,) = guard_ended(ended_run, MetricsCSV(str(ended_run)), inner)
    only.log_hyperparams({"lr": 1})
    only.log_metrics({"test_loss": 2.0}, 0)
    only.log_image("pictures/one", IMAGE, 0)
    only.close(RECORD)
    assert sorted(inner.called) == ["close", "log_image", "open"]
    assert [path.name for path in ended_run.rglob("*.png")] == ["one_at_20.png"]
    assert (ended_run / "figures" / "one_at_20.png").exists()


def test_a_logger_of_a_run_that_has_ended_fails_in_one_line(ended_run, caplog):
    inner = Ended(ended_run)
    inner.open = lambda: 1 / 0
    (only,) = guard_ended(ended_run, inner)
    only.log_image("pictures/one", IMAGE, 0)
    only.close(RECORD)
    assert "number0: ZeroDivisionError: division by zero; the run folder has the figures nevertheless" in caplog.text
