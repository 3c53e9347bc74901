"""Full disks, lost folders, NaN, damaged files: each is reported in one line, and no result is lost."""

import os
import re
import subprocess

import pytest
import torch
import warm
from resumed import LAST, SAVING, SHORT, weights
from runs import REPOSITORY, record

BEST = "checkpoints/best.ckpt"
OPTIONS = (*SHORT, "model=cnn", "loggers=none")


def test_a_full_disk(command, small_disk, monkeypatch, capsys):
    monkeypatch.chdir(small_disk)
    assert command("train", *OPTIONS, *SAVING, "+callbacks.fault={_target_: faults.FillDisk, batch: 4}") == 1
    assert re.fullmatch(
        r"error: cannot write .*: No space left on device; free some space.*resume=.*\n", capsys.readouterr().err
    )
    (folder,) = small_disk.glob("outputs/*/*/*")
    assert "state_dict" in torch.load(folder / LAST, weights_only=True)
    (small_disk / "filler").unlink()
    assert command("train", f"resume={folder}", "~callbacks.fault") == 0
    assert record(folder)["status"] == "finished"


def test_the_run_folder_is_deleted(command, tmp_path, capsys):
    fault = "+callbacks.fault={_target_: faults.DeleteRun, batch: 4}"
    assert command("train", *OPTIONS, *SAVING, fault) == 1
    assert re.fullmatch(
        r"error: cannot write .*: No such file or directory; its folder is missing: create it, .*\n",
        capsys.readouterr().err,
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_that_is_read_only(command, tmp_path, capsys):
    (tmp_path / "outputs").mkdir(mode=0o555)
    assert command("train", *OPTIONS) == 1
    assert re.fullmatch(
        r"error: cannot make a run folder .*: make it writable or cd elsewhere\n", capsys.readouterr().err
    )


def test_a_read_only_file_system(command, small_disk, monkeypatch, capsys):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    monkeypatch.chdir(small_disk)
    assert command("train", *OPTIONS) == 1
    assert "cannot make a run folder" in capsys.readouterr().err


def test_a_loss_that_is_not_a_number_is_located(command, tmp_path, capsys):
    fault = "+callbacks.fault={_target_: faults.NotANumber, batch: 7}"
    assert command("train", *OPTIONS, *SAVING, fault) == 1
    line = capsys.readouterr().err
    assert re.fullmatch(
        r"error: the loss is nan at step 7 \(epoch 1, batch 2, items \d+, .*\): choose a lower .*\n", line
    )
    (folder,) = tmp_path.glob("outputs/*/*/*")
    assert record(folder)["status"] == "failed"
    saved = torch.load(folder / LAST, weights_only=True)
    assert saved["global_step"] <= 7
    assert all(value.isfinite().all() for value in saved["state_dict"].values())


def test_or_left_out(train):
    fault = "+callbacks.fault={_target_: faults.NotANumber, batch: 7}"
    folder = train(*OPTIONS, fault, "model.skip_nonfinite=true")
    items = r"items (\d+, ){8}\.\.\."
    assert re.search(rf"step 7: the loss of {items} is nan; left out", (folder / "train.log").read_text())
    assert record(folder)["metrics"]["train_loss"] > 0
    assert all(value.isfinite().all() for value in weights(folder).values())


@pytest.mark.parametrize("skip", [False, True])
def test_repeated_images_have_their_own_numbers(command, tmp_path, skip):
    """Classes with few of the 12 images repeat them, as data.balanced is true."""
    data = ("data.balanced=true", "data.limit_train=12", "hparams.batch_size=8", "hparams.max_epochs=1")
    fault = "+callbacks.fault={_target_: faults.NotANumber, batch: 0}"
    assert command("train", *OPTIONS, *data, fault, f"model.skip_nonfinite={skip}") == (0 if skip else 1)
    (folder,) = tmp_path.glob("outputs/*/*/*")
    found = re.search(r"items (\d+(?:, \d+){7})\b", (folder / "train.log").read_text())
    assert found is not None
    assert all(int(number) < 1442 for number in found[1].split(", "))


LOSS = ("hparams.monitor=valid_loss", "hparams.monitor_mode=min")


@pytest.mark.parametrize(
    ("batch", "during", "of", "best"),
    [(1, "validation", "of the validation in epoch 1", 0), (0, "test", "of the test", 2)],
)
def test_nan_in_a_validation_or_test_fails_the_run(command, tmp_path, capsys, batch, during, of, best):
    fault = f"+callbacks.fault={{_target_: faults.NaNLogits, batch: {batch}, during: {during}}}"
    assert command("train", *OPTIONS, *LOSS, fault) == 1
    shown = capsys.readouterr()
    assert re.fullmatch(rf"error: the loss {of} is nan .*: choose a lower .*\n", shown.err)
    (folder,) = tmp_path.glob("outputs/*/*/*")
    run = record(folder)
    assert run["status"] == "failed"
    assert torch.load(folder / BEST, weights_only=True)["epoch"] == best
    if during == "test":  # the result is recorded and shown all the same
        assert (run["metrics"]["test_loss"], run["best_epoch"]) == ("nan", best + 1)
        assert run["metrics"]["valid_loss"] == run["best_score"] > 0
        assert re.search(r"test_loss +│ nan ", shown.out)


ONE_CLASS = ("data.valid=1", "metrics=[accuracy,auroc]", "hparams.monitor=valid_auroc", "hparams.patience=1")


def test_a_watched_metric_that_is_nan_fails_the_run(command, tmp_path, capsys):
    assert command("train", *OPTIONS, *ONE_CLASS) == 1
    line = "hparams.monitor: valid_auroc of the validation in epoch 0 is nan: watch another metric, such as hparams."
    assert capsys.readouterr().err.startswith(f"error: {line}")
    (folder,) = tmp_path.glob("outputs/*/*/*")
    assert record(folder)["status"] == "failed"
    assert not (folder / BEST).exists()


def test_or_is_reported_and_no_improvement(train):
    folder = train(*OPTIONS, *ONE_CLASS, "hparams.patience=2", "hparams.max_epochs=5", "model.skip_nonfinite=true")
    run = record(folder)
    assert (run["status"], run["best_score"], run["metrics"]["valid_auroc"]) == ("finished", "nan", "nan")
    log = (folder / "train.log").read_text()
    lines = [f"hparams.monitor: valid_auroc of the validation in epoch {epoch} is nan\n" in log for epoch in range(5)]
    assert lines == [True, True, False, False, False]  # patience=2: two that are no better


def test_nan_in_a_test_of_sets_of_mixed_sizes_fails_the_run_or_is_allowed(command, tmp_path, capsys):
    fault = "+callbacks.fault={_target_: faults.NaNLogits, batch: 0, during: test}"
    options = (*SHORT, "loggers=none", "callbacks=[basic]", "hparams.patch_num_max=4", "hparams.test_patch_num=null")
    assert command("train", *options, fault) == 1
    assert "the loss of the test is nan (test_loss/n=1-4): choose" in capsys.readouterr().err
    assert command("train", *options, fault, "model.skip_nonfinite=true") == 0
    assert "the loss of the test is nan (test_loss/n=1-4)\n" in capsys.readouterr().out
    runs = sorted((record(folder) for folder in tmp_path.glob("outputs/*/*/*")), key=lambda run: run["started"])
    assert [run["status"] for run in runs] == ["failed", "finished"]
    assert [run["metrics"]["test_loss/n=1-4"] for run in runs] == ["nan", "nan"]


@pytest.mark.parametrize(("epoch", "best"), [(0, 2), (2, 1)])
def test_or_is_reported_and_never_the_best(train, epoch, best):
    fault = f"+callbacks.fault={{_target_: faults.NaNLogits, batch: {epoch}, during: validation}}"
    folder = train(*OPTIONS, *LOSS, fault, "model.skip_nonfinite=true")
    assert f"the loss of the validation in epoch {epoch} is nan (valid_loss)\n" in (folder / "train.log").read_text()
    assert torch.load(folder / BEST, weights_only=True)["epoch"] == best
    assert record(folder)["metrics"]["test_loss"] > 0


@pytest.mark.processes
def test_a_clock_that_jumps(command, tmp_path):
    """Durations are measured with a clock that nobody can set."""
    script = tmp_path / "jumping.py"
    script.write_text(f"""
import datetime, runpy, sys
sys.path.insert(0, {str(REPOSITORY / "src")!r})
from run import folder
class Jumping(datetime.datetime):
    calls = 0
    @classmethod
    def now(cls, *zone):
        cls.calls += 1
        return super().now(*zone) - datetime.timedelta(days=365 * cls.calls)
folder.datetime = Jumping
sys.argv = ["train.py", *{[*OPTIONS, "hparams.max_epochs=1"]!r}]
runpy.run_path({str(REPOSITORY / "src" / "train.py")!r}, run_name="__main__")
""")
    process = warm.Process(str(script), cwd=tmp_path, merged=True)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    (folder,) = tmp_path.glob("outputs/*/*/*")
    assert record(folder)["ended"] < record(folder)["started"]
    assert 0 < record(folder)["seconds"] < 600


@pytest.mark.parametrize("setting", ["every_n_steps=0", "every_n_minutes=often"])
def test_how_often_to_save_is_checked_at_the_start(command, capsys, setting):
    assert command("train", *OPTIONS, f"callbacks.last.{setting}") == 1
    name, _, value = setting.partition("=")
    assert f"{name}={value}: must be a number > 0, or null" in capsys.readouterr().err
