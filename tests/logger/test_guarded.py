"""A logger may raise, hang or be slow, at any moment: one line, and the training's own thread never waits."""

import logging
import threading
import time

import pytest

from logger.guarded import guard, reason
from logger.metrics_csv import MetricsCSV
from logger.run_logger import RunLogger

RECORD = {"status": "finished", "metrics": {}}


class Recorder(RunLogger):
    """Remembers what it is told, and in which thread."""

    def __init__(self, folder, fails_at=None, error=None, hangs_at=None):
        super().__init__(str(folder))
        self.said, self.threads = [], set()
        self.fails_at, self.error, self.hangs_at = fails_at, error, hangs_at
        self.freed = threading.Event()

    def _say(self, name, *arguments):
        self.said.append((name, *arguments))
        self.threads.add(threading.current_thread())
        if name == self.fails_at:
            raise self.error
        if name == self.hangs_at:
            self.freed.wait()  # who waits for this call without a limit never ends

    def wait_until_it_hangs(self):
        while not self.said or self.said[-1][0] != self.hangs_at:
            time.sleep(0.01)

    def open(self):
        self._say("open")

    def log_hyperparams(self, params):
        self._say("log_hyperparams", params)

    def log_metrics(self, metrics, step, seconds):
        self._say("log_metrics", metrics, step)

    def log_artifact(self, path):
        self._say("log_artifact", path.name)

    def flush(self):
        self._say("flush")

    def end(self, record):
        self._say("end")

    def close(self, record):
        self._say("close", record["status"])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("logger.guarded.INTERVAL", 0.01)


def guarded(tmp_path, *loggers, patience=10.0, artifacts=(), names=None):
    files = {"start": [], "end": list(artifacts)}
    names = names or [f"number{i}" for i in range(len(loggers))]
    return guard(list(loggers), names, patience, str(tmp_path), files)


def test_every_call_arrives_in_order_in_another_thread(tmp_path):
    (tmp_path / "run.json").touch()
    inner = Recorder(tmp_path)
    (logger,) = guarded(tmp_path, inner, artifacts=["run.json", "missing.csv"])
    logger.log_hyperparams({"lr": 0.1})
    for step in range(100):
        logger.log_metrics({"loss": step}, step)
    logger.close(RECORD)
    said = [call for call in inner.said if call[0] != "flush"]
    steps = [("log_metrics", {"loss": step}, step) for step in range(100)]
    files = [("end",), ("log_artifact", "run.json"), ("close", "finished")]
    assert said == [("open",), ("log_hyperparams", {"lr": 0.1}), *steps, *files]
    assert threading.current_thread() not in inner.threads


def test_metrics_csv_is_no_guest(tmp_path):
    csv = MetricsCSV(str(tmp_path))
    assert guarded(tmp_path, csv) == [csv]


@pytest.mark.parametrize("moment", ["open", "log_metrics", "flush", "end", "close"])
def test_the_first_failure_is_said_once_and_is_the_last_call(tmp_path, caplog, moment):
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
    assert failing.said[-1][0] == moment
    assert [call[0] for call in healthy.said].count("log_metrics") == 5
    assert healthy.said[-1] == ("close", "finished")


def test_nothing_follows_the_close_however_late_the_thread_hears_of_the_end(tmp_path, monkeypatch):
    inner = Recorder(tmp_path)
    (logger,) = guarded(tmp_path, inner)
    monkeypatch.setattr(logger.closing, "wait", lambda seconds: time.sleep(seconds))
    logger.log_metrics({}, 0)
    logger.close(RECORD)
    assert not logger.thread.is_alive()
    assert inner.said[-1] == ("close", "finished")


def test_system_exit_of_a_library_ends_the_logger_only(tmp_path, caplog):
    (logger,) = guarded(tmp_path, Recorder(tmp_path, fails_at="open", error=SystemExit("no")))
    logger.log_metrics({}, 0)
    logger.close(RECORD)
    assert "SystemExit: no" in caplog.text


def test_the_end_waits_for_all_silent_loggers_together_no_longer_than_its_patience(tmp_path, caplog):
    silent = [Recorder(tmp_path, hangs_at="open"), Recorder(tmp_path, hangs_at="log_metrics")]
    loggers = guarded(tmp_path, *silent, patience=0.5)
    for logger in loggers:
        logger.log_metrics({}, 0)
    for inner in silent:
        inner.wait_until_it_hangs()
    start = time.monotonic()
    for logger in loggers:
        logger.close(RECORD)
    assert time.monotonic() - start >= 0.5
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("number0: still at `open` 0.5 s after the end (guard.patience); ")
    assert lines[1].startswith("number1: still at `log_metrics` 0.5 s after the end (guard.patience); ")
    assert all(line.endswith("recorded by metrics.csv") for line in lines)
    for inner in silent:
        inner.freed.set()
    for logger in loggers:
        logger.thread.join()
    assert all(call[0] != "close" for inner in silent for call in inner.said)


def test_silence_in_the_middle_of_a_run_gives_the_logger_up_and_frees_its_queue(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("logger.guarded.SILENCE", 0.1)
    inner = Recorder(tmp_path, hangs_at="open")
    (logger,) = guarded(tmp_path, inner)
    logger.log_metrics({}, 0)
    inner.wait_until_it_hangs()
    time.sleep(0.2)
    for step in range(3):
        logger.log_metrics({}, step)
    assert "no answer for 0.1 s" in caplog.text
    assert len(caplog.records) == 1
    assert not logger.calls
    inner.freed.set()
    logger.close(RECORD)


def test_nothing_is_opened_that_is_told_nothing(tmp_path):
    inner = Recorder(tmp_path)
    (logger,) = guarded(tmp_path, inner)
    logger.close(RECORD)
    assert inner.said == []


def test_a_job_of_a_sweep_is_recorded_also_if_it_failed_before_it_logged(tmp_path):
    inner = Recorder(tmp_path)
    (logger,) = guarded(tmp_path, inner)
    logger.close({**RECORD, "status": "failed", "sweep": "Default/2026-11-20/09-00-00"})
    assert [call for call in inner.said if call[0] != "flush"] == [("open",), ("end",), ("close", "failed")]


def test_a_signal_at_the_end_waits_no_longer_and_spares_the_others(tmp_path, monkeypatch):
    silent, healthy = Recorder(tmp_path, hangs_at="open"), Recorder(tmp_path)
    loggers = guarded(tmp_path, silent, healthy)
    for logger in loggers:
        logger.log_metrics({}, 0)
    join, signals = loggers[0].thread.join, [KeyboardInterrupt]

    def interrupted_once(seconds):
        if signals:
            raise signals.pop()
        join(seconds)

    monkeypatch.setattr(loggers[0].thread, "join", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        loggers[0].close(RECORD)
    loggers[1].thread.join()
    assert healthy.said[-1] == ("close", "finished")
    assert not loggers[1].lost
    silent.freed.set()


def test_other_ranks_log_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    inner = Recorder(tmp_path)
    (logger,) = guarded(tmp_path, inner)
    logger.log_metrics({}, 0)
    logger.close(RECORD)
    assert inner.said == []


def test_methods_of_the_library_can_be_called_and_are_guarded_too(tmp_path, caplog):
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


def test_a_dictionary_that_is_changed_later_is_logged_as_it_was(tmp_path):
    inner = Recorder(tmp_path)
    (logger,) = guarded(tmp_path, inner)
    metrics = {"loss": 1.0}
    logger.log_metrics(metrics, 3)
    metrics.clear()
    logger.close(RECORD)
    assert ("log_metrics", {"loss": 1.0}, 3) in inner.said


def test_a_logger_of_lightning_is_guarded_as_well(tmp_path):
    from pytorch_lightning.loggers import CSVLogger

    (logger,) = guarded(tmp_path, CSVLogger(tmp_path, name="theirs", version="0"))
    logger.log_hyperparams({"lr": 0.1})
    logger.log_metrics({"loss": 1.5}, 7)
    logger.log_image("picture", None, 0)
    logger.close(RECORD)
    assert "1.5" in (tmp_path / "theirs" / "0" / "metrics.csv").read_text()


def test_secrets_in_an_error_are_not_said(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "verysecret123")
    (logger,) = guarded(tmp_path, Recorder(tmp_path, fails_at="open", error=RuntimeError("401 for verysecret123")))
    logger.log_metrics({}, 0)
    logger.close(RECORD)
    assert "401 for ***" in caplog.text
    assert "verysecret123" not in caplog.text


def test_the_reason_is_what_the_system_said():
    error = ValueError("a long story")
    error.__cause__ = OSError(28, "No space left on device", "/data/file")
    assert reason(error) == "No space left on device: /data/file"
    assert reason(ValueError("bad token\n\n  and more")) == "ValueError: bad token and more"
    assert reason(KeyError()) == "KeyError"
