"""Tests of report.py as a user calls it."""

import json
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


@pytest.fixture
def measured(tmp_path):
    """Make runs of two pools and three seeds with accuracies at two sizes: one in run.json, one in evaluation.json."""
    for pool, accuracies in (("max", [0.90, 0.92, 0.94]), ("mean", [0.80, 0.81, 0.86])):
        for seed, accuracy in enumerate(accuracies):
            folder = make_run(
                tmp_path / f"multirun/Default/2026-11-20/09-00-00_{pool}" / str(seed),
                settings={"data": "digits", "hparams.pool": [pool], "hparams.seed": seed},
                metrics={"test_accuracy": accuracy, "test_accuracy/n=16": accuracy},
                last_metrics={"valid_accuracy": accuracy / 2},
            )
            sizes = {"test_accuracy/n=4": accuracy - 0.1}
            (folder / "evaluation.json").write_text(json.dumps({"sizes": sizes}), encoding="utf-8")


def test_a_curve_as_table_and_figure(measured, command, capsys, tmp_path):
    words = [
        "group=true",
        "curve=n",
        *(f"output=curve{end}" for end in (".pdf", ".svg", ".png", ".md", ".csv", ".tex")),
    ]
    assert command("report", *words) == 0
    out, err = capsys.readouterr()
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "n hparams.pool test_accuracy/n=4 test_accuracy/n=16",
        "3 [max] 0.8200 ± 0.0200 0.9200 ± 0.0200",
        "3 [mean] 0.7233 ± 0.0321 0.8233 ± 0.0321",
    ]
    assert err.count("written: curve") == 6
    assert (tmp_path / "curve.pdf").read_bytes().startswith(b"%PDF")
    header, best, _ = (tmp_path / "curve.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("n,hparams.pool,test_accuracy/n=4,test_accuracy/n=4_std,test_accuracy/n=4_n,")
    assert float(best.split(",")[2]) == pytest.approx(0.82)
    assert r"3 & {[}max{]} & \textbf{0.8200 $\pm$ 0.0200}" in (tmp_path / "curve.tex").read_text(encoding="utf-8")


def test_a_curve_of_the_error_has_the_smallest_first(measured, command, capsys):
    assert command("report", "group=true", "curve=n", "sort=test_error") == 0
    assert " ".join(lines(capsys)[1].split()) == "3 [max] 0.1800 ± 0.0200 0.0800 ± 0.0200"
    assert command("report", "group=true", "curve=n", "sort=-test_error/n=4", "top=1") == 0
    assert lines(capsys)[1].split()[:2] == ["3", "[mean]"]


def test_a_comparison_over_seeds(measured, command, capsys, tmp_path):
    assert command("report", "compare=hparams.pool", "output=c.tex", "output=c.csv", "output=c.md") == 0
    out, err = capsys.readouterr()
    best, other = (" ".join(line.split()) for line in out.splitlines()[1:])
    assert best == "[max] 3 0.9200 ± 0.0200 reference"
    # the differences are 0.10, 0.11, 0.08; t of 97.5 % with 2 degrees of freedom is 4.3027
    assert other == "[mean] 3 0.8233 ± 0.0321 -0.0967 -0.1346 to -0.0587 0.0082 worse"
    assert "Holm's correction for 1 comparison" in err
    assert "-0.0967" in (tmp_path / "c.md").read_text(encoding="utf-8")


def test_columns_and_files_have_what_is_asked_for(measured, command, capsys, tmp_path):
    assert command("report", "sort=test_accuracy", "top=1", "output=all.csv", "output=short.md") == 0
    assert lines(capsys)[0].split() == ["folder", "status", "hparams.pool", "hparams.seed", "test_accuracy"]
    every = "test_accuracy,test_accuracy/n=4,test_accuracy/n=16,last_valid_accuracy"
    header = (tmp_path / "all.csv").read_text(encoding="utf-8").splitlines()[0]
    assert sorted(header.split(",")[-4:]) == sorted(every.split(","))
    assert "n=4" not in (tmp_path / "short.md").read_text(encoding="utf-8")
    assert command("report", "test_accuracy/n=4>=0.84", "columns=last_*") == 0
    header, row = (line.split() for line in lines(capsys))
    assert header[-2:] == ["last_valid_accuracy", "test_accuracy/n=4"]
    assert row[-2:] == ["0.4700", "0.8400"]


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
    assert failed.endswith("UserError: data.valid=100000 leaves none of the 1442 items for training: choose less")
    assert "in all of them: data=digits model=cnn" in err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["hparams.lrr=1"], "did you mean hparams.lr?"),
        (["nowhere"], "nowhere: no such folder"),
        (
            ["curve=n"],
            "curve=n: no run has test_accuracy at several numbers of patches; measure it: python src/evaluate",
        ),
        (["curve=n", "sort=test_loss"], "no run has test_loss at several numbers"),
        (["compare=hparams.lr", "data=MNIST"], "compare=hparams.lr: of the finished runs none has test_accuracy"),
        (
            ["compare=data", "status=finished"],
            "of the finished runs all have data=digits: train runs with other values",
        ),
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
