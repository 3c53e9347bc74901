"""evaluate.py run=SWEEP measures each run as evaluate.py run=RUN does, whatever happens to the others."""

import json
import re
import shutil
import signal

import pytest
import torch
import warm
from module_run import trained
from runs import REPOSITORY

OPTIONS = ("data=digits", "hparams.max_epochs=1", "loggers=none", "callbacks=[basic]")
CHANGES = [("hparams.seed=0", "hparams.patch_num_max=8"), ("hparams.seed=1", "hparams.pool=[max]")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return [trained(tmp_path_factory.mktemp(f"run{i}"), *OPTIONS, *change) for i, change in enumerate(CHANGES)]


@pytest.fixture
def sweep(runs, tmp_path):
    """A copy of the runs, as jobs 0 and 1 of a sweep, and job 2, which fails: its checkpoint is broken."""
    folder = tmp_path / "multirun" / "Default" / "2026-11-20" / "09-00-00"
    for job, run in enumerate([*runs, runs[1]]):
        shutil.copytree(run, folder / str(job))
    (folder / "2" / "checkpoints" / "best.ckpt").write_bytes(b"broken")
    return folder


def evaluation(folder):
    return json.loads((folder / "evaluation.json").read_text())


def test_each_run_is_measured_as_alone_and_a_failure_is_one_line(sweep, command, capsys, monkeypatch):
    from datamodule.digits import Digits

    loaded = []
    load = Digits.load
    monkeypatch.setattr(Digits, "load", lambda self, part: loaded.append(part) or load(self, part))
    monkeypatch.setenv("COLUMNS", "200")
    assert command("evaluate", f"run={sweep}", "sizes=[1,4]") == 1
    shown = capsys.readouterr()
    several = [evaluation(sweep / str(job)) for job in (0, 1)]
    assert loaded == ["test"], "equal data are loaded once"
    assert not (sweep / "2" / "evaluation.json").exists()
    assert shown.err.count("cannot read the checkpoint") == 1
    assert shown.err.strip().splitlines()[-1] == "error: 1 of 3 runs could not be measured, see the lines above"
    for job, result in enumerate(several):
        assert re.search(rf"^{job + 1}/3 runs .*/{job}  test_accuracy {result['test_accuracy']:.4f}", shown.out, re.M)
    table = [line.split() for line in shown.out.splitlines() if "/3 runs" not in line and line.strip()]
    assert table[0][:2] == ["folder", "status"]
    assert {"test_accuracy", "test_accuracy/n=1", "test_accuracy/n=4", "test_loss"} <= set(table[0])
    assert not {"train_loss", "valid_accuracy"} & set(table[0]), "only what was measured"
    best_first = sorted((0, 1), key=lambda job: -several[job]["test_accuracy"])
    assert [row[0].rpartition("/")[2] for row in table[1:4]] == [*map(str, best_first), "2"]

    for job, result in enumerate(several):
        assert command("evaluate", f"run={sweep / str(job)}", "sizes=[1,4]") == 0
        assert evaluation(sweep / str(job)) == result
    assert len(several[0]["sizes"]) == 2


def test_settings_hold_for_all_runs_and_a_shared_mistake_is_said_once(sweep, command, capsys):
    assert command("evaluate", f"run=[{sweep / '0'},{sweep / '1'}]", "ckpt=last", "sizes=[2]", "verbosity=0") == 0
    assert capsys.readouterr().out == ""
    for job in "01":
        result = evaluation(sweep / job)
        assert result["checkpoint"].endswith("last.ckpt")
        assert list(result["sizes"]) == ["test_accuracy/n=2"]
    assert command("evaluate", f"run={sweep}", "sizes=[0]") == 1
    error = capsys.readouterr().err
    assert error.count("sizes=[0]: must be a list of whole numbers >= 1") == 1
    assert "error: 3 of 3 runs could not be measured" in error


def test_weights_that_give_nan_are_written_and_end_with_an_error(sweep, command, capsys):
    run = sweep / "0"
    broken = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    next(reversed(broken["state_dict"].values())).fill_(torch.nan)
    torch.save(broken, run / "checkpoints" / "best.ckpt")
    assert command("evaluate", f"run={run}", "sizes=[4]") == 1
    assert "outputs are NaN for 355 of 355 images, which count as incorrect" in capsys.readouterr().err
    result = evaluation(run)
    assert result["test_loss"] == "nan"
    assert result["sizes"] == {"test_accuracy/n=4": 0.0}
    assert set(result["per_class"].values()) == {0.0}
    assert sum(map(sum, result["confusion_matrix"])) == 0

    assert command("evaluate", f"run=[{run},{sweep / '1'}]", "sizes=[4]") == 1
    assert "error: 1 of 2 runs could not be measured" in capsys.readouterr().err
    assert evaluation(sweep / "1")["test_accuracy"] > 0


@pytest.mark.parametrize("words", [["run={0}", "run={0}/"], ["run=[{0},{0}]"], ["run={0} status=finished"]])
def test_one_run_that_is_named_twice_or_chosen_alone_fails_in_one_line(words, sweep, command, capsys):
    run = sweep / "2"
    assert command("evaluate", *(word.format(run) for word in words)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "cannot read the checkpoint" in line


@pytest.mark.processes
def test_ctrl_c_keeps_what_is_measured_and_says_how_to_go_on(sweep, tmp_path):
    words = (str(REPOSITORY / "src" / "evaluate.py"), f"run={sweep}", "sizes=[1,4,16,64]")
    process = warm.Process(*words, cwd=tmp_path)
    first = process.stdout.readline()
    assert first.startswith("1/3 runs")
    process.send_signal(signal.SIGINT)
    out, error = process.communicate()
    assert process.returncode == 130, error
    assert evaluation(sweep / "0")["test_accuracy"] > 0
    assert "test_accuracy" in out, "the table of what is done"
    left = f"{sweep / '1'},{sweep / '2'}"
    assert f"remaining runs: python src/evaluate.py 'run=[{left}]' 'sizes=[1,4,16,64]'" in error
