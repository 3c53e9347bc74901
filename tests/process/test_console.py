import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from runs import REPOSITORY

from process.console import LogFile, Terminal, few_classes, format_duration, format_number, print_start, print_summary
from process.errors import UserError

OWN, LIBRARY = REPOSITORY / "src" / "callback" / "lr_finder.py", "/lib/python/library/module.py"
NOISE = "Checkpoint directory /x exists and is not empty."


def said(verbosity, capsys):
    handler = Terminal(verbosity)
    for name, path, level, words in [
        ("callback.lr_finder", OWN, logging.INFO, "own"),
        ("hydra", LIBRARY, logging.INFO, "job"),
        ("library", LIBRARY, logging.INFO, "library"),
        ("py.warnings", LIBRARY, logging.WARNING, NOISE),
        ("py.warnings", LIBRARY, logging.WARNING, "warning"),
        ("library", LIBRARY, logging.ERROR, "error"),
    ]:
        handler.handle(logging.LogRecord(name, level, str(path), 1, words, (), None))
    return capsys.readouterr().out.splitlines()


def test_messages_at_each_verbosity(capsys):
    assert said(0, capsys) == ["warning", "error"]
    assert said(1, capsys) == ["own", "job", "warning", "error"]
    assert said(2, capsys) == ["own", "job", "library", NOISE, "warning", "error"]


@pytest.mark.parametrize(("number", "verbosity", "shown"), [(20, 1, 20), (21, 1, 10), (1000, 0, 10), (1000, 2, 1000)])
def test_a_table_shows_all_of_few_classes_and_the_lowest_of_many(number, verbosity, shown):
    classes = [(f"class {k}", -k) for k in range(number)]
    given = few_classes(classes, lambda row: row[1], verbosity)
    assert given == (classes if shown == number else classes[: -shown - 1 : -1])


def test_other_ranks_print_only_warnings_and_errors(capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert said(2, capsys) == [NOISE, "warning", "error"]


def test_messages_go_to_the_current_stdout(monkeypatch, capsys):
    handler = Terminal(1)
    lines = []
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(write=lines.append, flush=lambda: None))
    handler.handle(logging.LogRecord("x", logging.ERROR, "x", 1, "words", (), None))
    assert lines == ["words\n"]


@pytest.mark.parametrize(
    ("verbosity", "words"),
    [(0, ""), (1, "outputs/x\ndata=digits model=cnn hparams.lr=0.1\n"), (2, "outputs/x\nconfig\n├── verbosity: 2\n")],
)
def test_the_start_of_a_run(verbosity, words, capsys):
    config = OmegaConf.create({"verbosity": verbosity, "hparams": {"lr": 0.1}})
    print_start(Path("outputs/x"), ["data=digits", "model=cnn", "hparams.lr=0.1"], config)
    out = capsys.readouterr().out
    assert out.startswith(words) if verbosity == 2 else out == words


def test_the_summary(capsys):
    rows = {"test_accuracy": 0.98765, "tiny": 1.2345e-7, "zero": 0.0, "images": 10000, "folder": Path.cwd() / "a"}
    print_summary("Result", rows, 1)
    out = capsys.readouterr().out
    assert [line.split("│")[1:3] for line in out.splitlines() if "│" in line] == [
        [f" {name:<13} ", f" {value:<8} "]
        for name, value in zip(rows, ["0.9877", "1.23e-07", "0.0000", "10,000"], strict=False)
    ]
    assert out.endswith("\nfolder: a\n")  # whole, however narrow the terminal is
    print_summary("Result", rows, 0)
    assert capsys.readouterr().out == ""


WRITES = (
    "from process.console import print_summary as p; "
    "p('Result', {'a': 1}, 1); p('Result', {'b': 2}, 1); print('x' * 9999)"
)


@pytest.mark.processes
@pytest.mark.parametrize("reader", ["gone", "full"])
def test_a_closed_pipe_and_a_full_disk_end_no_process(reader):
    if reader == "full" and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") if reader == "gone" else Path("/dev/full").open("w") as output:
        command, environment = [sys.executable, "-c", WRITES], {"PYTHONPATH": str(REPOSITORY / "src")}
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0:00"), (65, "1:05"), (3599.6, "1:00:00"), (7325, "2:02:05")])
def test_durations(seconds, words):
    assert format_duration(seconds) == words


def test_the_log_file_takes_lines_where_it_can_be_written_and_else_is_silent(tmp_path):
    for name in ("here.log", "no folder/there.log"):  # root may write into any folder that exists
        handler = LogFile(str(tmp_path / name))
        handler.handle(logging.LogRecord("x", logging.INFO, "x.py", 1, "said", (), None))
        handler.close()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("here.log", "said\n")]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.97125, "0.9712"), (0, "0.0000"), (-0.0005, "-0.0005"), (12345.6, "12345.6000"), (1.0524e17, "1.05e+17")],
)
def test_a_number_of_a_metric_is_short(value, text):
    assert format_number(value) == text


def test_a_log_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "train.log").symlink_to("precious")
    with pytest.raises(UserError, match=r"train.log: it is a link or no regular file; remove it"):
        LogFile(str(tmp_path / "train.log"))
    assert (tmp_path / "precious").read_text() == "kept"


def test_no_log_is_wanted_in_dev_null():
    assert not LogFile(os.devnull).is_written
