"""Tests of report.py as a user calls it."""

import os
import subprocess
import sys

import pytest
from run_records import make_run, make_sweep
from runs import REPOSITORY

REPORT = str(REPOSITORY / "src" / "report.py")


@pytest.fixture
def sweep(tmp_path):
    make_sweep(tmp_path / "multirun", {0.1: [0.90, 0.92, 0.94], 0.01: [0.95, 0.97, 0.99]})
    make_run(
        tmp_path / "outputs/Default/2026-11-21/09-00-00", status="failed", settings={"data": "MNIST"}, parameters=9
    )
    (tmp_path / "outputs/Default/2026-11-21/10-00-00").mkdir()


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_every_run_here(sweep, command, capsys):
    assert command("report") == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 + 8
    assert "multirun/Default/2026-11-20/09-00-00/5" in out
    assert err.splitlines()[0] == "8 runs: 6 finished, 1 failed, 1 damaged"


def test_what_is_no_result_is_hidden_unless_it_is_asked_for(command, capsys, tmp_path):
    """A failed run that trained is shown: `parameters` is recorded just before the first step."""
    outputs = tmp_path / "outputs" / "Default" / "2026-11-21"
    make_run(outputs / "09-00-00", status="failed", parameters=9)
    make_run(outputs / "10-00-00", status="failed")
    make_run(outputs / "11-00-00", debug=True, parameters=9)
    make_run(outputs / "12-00-00", settings={"debug": True})  # as older records say it
    make_run(outputs / "13-00-00", debug=False, parameters=9)
    assert command("report") == 0
    out, err = capsys.readouterr()
    assert [line.split()[0][-8:] for line in out.splitlines()[1:]] == ["09-00-00", "13-00-00"]
    assert err.splitlines()[0] == "2 runs: 1 failed, 1 finished"
    assert err.splitlines()[-1] == "2 debug runs and 1 refused run are hidden: all=true shows them"
    assert command("report", "all=true") == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 + 5
    assert "hidden" not in err
    assert command("report", "status=failed", "group=true") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "1 refused run is hidden: all=true shows it"


def test_filters_groups_ranks_and_writes(sweep, command, capsys, tmp_path):
    words = ["status=finished", "data=digits", "group=true", "sort=test_accuracy", "top=1"]
    assert command("report", *words, "output=best.md", "output=best.csv", "output=best.png") == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["3", "0.01", "0.9700", "±", "0.0200", "0.0300", "±", "0.0200", "0.4850", "±", "0.0100"]
    ]
    assert err.splitlines()[-3:] == ["written: best.md", "written: best.csv", "written: best.png"]
    assert "0.9700 ± 0.0200" in (tmp_path / "best.md").read_text(encoding="utf-8")


def test_a_folder_and_a_comparison(sweep, command, capsys):
    assert command("report", "multirun/Default/2026-11-20/09-00-00/3", "multirun/Default/2026-11-20/09-00-00/4") == 0
    assert len(lines(capsys)) == 1 + 2
    assert command("report", "test_accuracy>=0.97", "sort=-test_accuracy") == 0
    assert [line.split()[0][-1] for line in lines(capsys)[1:]] == ["4", "5"]


def test_real_runs(train, command, capsys):
    train("data=digits", "model=cnn", "hparams.max_epochs=1", "loggers=none", "comment=日本, a = b")
    assert command("train", "data=digits", "model=cnn", "data.valid=100000") == 1
    added = ("+callbacks=histograms", "+callbacks=every_k_epochs")
    assert command("train", "data=digits", "model=cnn", "debug=True", *added) == 0
    capsys.readouterr()
    assert command("report", "model=cnn", "sort=test_accuracy") == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 + 1
    assert err.splitlines()[-1] == "1 debug run and 1 refused run are hidden: all=true shows them"
    ran = "callbacks=[basic,monitor,pictures,histograms,every_k_epochs]"
    assert command("report", "model=cnn", "all=true", ran) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 1
    assert command("report", "model=cnn", "sort=test_accuracy", "all=true", "debug=false") == 0
    out, err = capsys.readouterr()
    _, finished, failed = out.splitlines()
    assert " finished " in finished
    assert " 日本, a = b " in finished
    assert " failed " in failed
    assert failed.endswith("UserError: data.valid=100000 leaves none of the 1442 images for training: choose less")
    assert "in all of them: data=digits model=cnn" in err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["hparams.lrr=1"], "did you mean hparams.lr?"),
        (["nowhere"], "nowhere: no such folder"),
        (["output=nowhere/a.csv"], "cannot write nowhere/a.csv: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line(sweep, command, capsys, words, line):
    assert command("report", *words) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert line in error


def test_no_runs_at_all(command, capsys):
    assert command("report") == 1
    assert "python src/train.py" in capsys.readouterr().err


def test_no_run_passes(sweep, command, capsys):
    assert command("report", "data=mnist") == 0
    assert capsys.readouterr() == ("", "0 runs\nno run has data=mnist: there are MNIST, digits\n")


def test_help(command, capsys):
    assert command("report", "--help") == 0
    text = capsys.readouterr().out
    assert text.count("python src/report.py") >= 6
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.processes
def test_a_reader_that_stops_early_is_no_error(tmp_path):
    for second in range(60):
        make_run(
            tmp_path / f"outputs/Default/2026-11-21/09-00-{second:02}", comment="x" * 5000
        )  # more than a pipe holds
    process = subprocess.Popen([sys.executable, REPORT], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(1)
    process.stdout.close()
    assert "Error" not in process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() in (0, 1)


@pytest.mark.processes
def test_ten_thousand_runs_take_seconds(tmp_path):
    for i in range(10_000):
        make_run(
            tmp_path / "outputs" / "Default" / f"2026-01-{1 + i // 1000:02}" / f"09-00-00_{i % 1000}",
            settings={"hparams.lr": i // 5, "hparams.seed": i % 5},
            metrics={"test_accuracy": 1 / (1 + i), "test_loss": 1.0},
        )
    before = os.times()
    done = subprocess.run(
        [sys.executable, REPORT, "group=true", "sort=test_loss"], cwd=tmp_path, capture_output=True, check=True
    )
    after = os.times()
    assert len(done.stdout.splitlines()) == 1 + 2000
    assert after.children_user + after.children_system - before.children_user - before.children_system < 5
