"""Settings of Lightning's Trainer beside our callbacks: each training finishes, or is refused before it in one line."""

import csv

import pytest
import torch
from configs import composed
from runs import record

from process.errors import UserError
from settings import check

pytestmark = pytest.mark.long  # together 50 s: each case is a training
TINY = (
    *("data=digits", "data.limit_train=96", "hparams.batch_size=32", "hparams.max_epochs=3", "model=cnn"),
    *("trainer=cpu", "callbacks=[basic,monitor]", "loggers=none"),
)
ACROSS_EPOCHS = "+trainer.check_val_every_n_epoch=null"
FOREVER = "trainer.max_epochs=-1"
PATIENT = ("scheduler=plateau", "hparams.patience=1")
WATCH_TRAINING = ("hparams.monitor=train_loss", "hparams.monitor_mode=min")


def rows(folder, column):
    with (folder / "metrics.csv").open(newline="") as file:
        return [(int(row["epoch"]), float(row[column])) for row in csv.DictReader(file) if row.get(column)]


@pytest.mark.parametrize(
    ("options", "validations"),  # how often valid_accuracy is measured in three epochs of three batches
    [
        (("+trainer.limit_val_batches=0", "hparams.patience=1"), 0),
        (("+trainer.limit_val_batches=0", *WATCH_TRAINING, *PATIENT), 0),
        (("+trainer.limit_val_batches=0.0", "hparams.lr=0"), 0),
        (("+trainer.limit_val_batches=1", *PATIENT), 3),
        (("+trainer.check_val_every_n_epoch=2", *PATIENT), 1),
        (("+trainer.check_val_every_n_epoch=5", *PATIENT), 0),
        (("+trainer.val_check_interval=2", *PATIENT), 3),
        (("+trainer.val_check_interval=0.4", *PATIENT), 9),
        (("+trainer.val_check_interval=4", ACROSS_EPOCHS, "hparams.patience=3"), 2),
        (("+trainer.val_check_interval=4", ACROSS_EPOCHS, "scheduler=plateau", *WATCH_TRAINING), 2),
        (("+trainer.val_check_interval=100", ACROSS_EPOCHS, "hparams.patience=1"), 0),
        (("+trainer.val_check_interval='00:00:10:00'", "hparams.patience=1"), 0),
        (("+trainer.limit_train_batches=1", *PATIENT), 3),
        (("+trainer.max_steps=2",), 0),
        (("+trainer.max_steps=2", "hparams.lr=0"), 0),
        (("+trainer.max_steps=4", *PATIENT), 1),
        ((FOREVER, "+trainer.max_steps=4", "scheduler=cosine"), 1),
        ((FOREVER, "+trainer.max_time='00:00:00:01'", "scheduler=step"), None),
        (("+trainer.min_epochs=2", "hparams.patience=0", "hparams.monitor=train_loss", "hparams.monitor_mode=min"), 3),
        (("trainer.num_sanity_val_steps=2", *PATIENT), 3),
        (("+trainer.reload_dataloaders_every_n_epochs=1", *PATIENT), 3),
        (("trainer.accumulate_grad_batches=10", *PATIENT), 3),
        (("+trainer.log_every_n_steps=0", "+trainer.inference_mode=false", "+trainer.detect_anomaly=true"), 3),
        (("trainer.fast_dev_run=3", *PATIENT), None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_finishes(train, options, validations):
    folder = train(*TINY, *options)
    run = record(folder)
    assert run["status"] == "finished"
    assert "test_accuracy" in run["metrics"]
    if validations is not None:
        assert len(rows(folder, "valid_accuracy")) == validations
        assert ("valid_accuracy" in run["metrics"]) == (validations > 0)
        watched = "train_" in "".join(options)
        assert (run["best_checkpoint"] is not None) == (validations > 0 or watched)


def test_a_test_is_left_out(train):
    folder = train(*TINY, "hparams.max_epochs=1", "+trainer.limit_test_batches=0")
    run = record(folder)
    assert (run["status"], run["best_checkpoint"]) == ("finished", "checkpoints/best.ckpt")
    assert not any(name.startswith("test_") for name in run["metrics"])
    assert "no test: trainer.limit_test_batches=0" in (folder / "train.log").read_text()


def test_plateau_makes_one_step_for_each_validation(train):
    never_better = ("scheduler=plateau", "scheduler.scheduler.patience=0", "+scheduler.scheduler.threshold=100")
    folder = train(*TINY, *never_better, "+trainer.check_val_every_n_epoch=2", "hparams.max_epochs=6")
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["lr_schedulers"][0]["last_epoch"] == 3  # epochs 2, 4, 6
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(3e-5)  # the first is the best


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("+trainer.limit_val_batches=0", "scheduler=plateau"), "trainer.limit_val_batches=0 leaves out validation"),
        (("+trainer.val_check_interval=100",), "an epoch has 3 batches: choose <= 3, or count batches across epochs"),
        (("+trainer.val_check_interval=3", "+trainer.limit_train_batches=2"), "an epoch has 2 batches"),
        (("+trainer.limit_train_batches=0.01",), "less than one of 3 batches: choose >= 0.334"),
        (("+trainer.limit_val_batches=0.001",), "less than one of 9 batches: choose >= 0.112"),
        (("+trainer.limit_test_batches=0.001",), "less than one of 12 batches: choose >= 0.084"),
        ((FOREVER, "scheduler=cosine"), "spreads over all steps, whose number is unlimited"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_is_refused_before_training(command, capsys, tmp_path, options, words):
    assert command("train", *TINY, *options) == 1
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.glob("outputs/*/*/*/checkpoints/*"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("+trainer.overfit_batches=2", "hparams.batch_size=32"), "data.limit_train=64 trains on the same images"),
        (("+trainer.overfit_batches=0.5",), "data.limit_train=N"),
        (("+trainer.enable_checkpointing=false",), "callbacks.best=null callbacks.last=null"),
        (("+trainer.barebones=true",), "every run logs to metrics.csv"),
        (("scheduler=plateau", "+trainer.val_check_interval=4", ACROSS_EPOCHS), "validates at other moments"),
        (("scheduler=plateau", "+trainer.val_check_interval='00:00:10:00'"), "validates at other moments"),
        (("+trainer.val_check_interval=0",), "must be a number of batches, or a ratio"),
        (("+trainer.val_check_interval=2.5",), "must be a number of batches, or a ratio"),
        (("+trainer.limit_train_batches=0",), "must be a number of batches, or a ratio"),
        (("+trainer.limit_val_batches=-1",), "or 0 for none"),
        (("+trainer.max_time=1s",), "must be a time such as 00:12:00:00"),
        (("+trainer.max_steps=0",), "must be a whole number >= 1, or -1 for no end"),
        (("trainer.max_epochs=0",), "must be a whole number >= 1, or -1 for no end"),
        (("+trainer.check_val_every_n_epoch=0",), "must be a whole number >= 1"),
        (("trainer.accumulate_grad_batches=0",), "must be a whole number >= 1"),
        (("+trainer.log_every_n_steps=-1",), "must be a whole number >= 0"),
        (("trainer.gradient_clip_val=-1",), "must be a number >= 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_is_refused_before_a_folder_exists(options, words):
    with pytest.raises(UserError, match=words):
        check(composed("data=digits", *options))


@pytest.mark.processes
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep_without_validation_or_test_finishes(command, tmp_path, launcher):
    options = ("+trainer.limit_val_batches=0,1", "+trainer.limit_test_batches=0", "hparams.max_epochs=1")
    assert command("train", *TINY, *options, f"hydra/launcher={launcher}", "-m") == 0
    runs = [record(path.parent) for path in sorted(tmp_path.glob("multirun/*/*/*/[01]/run.json"))]
    assert [(run["status"], run["best_checkpoint"]) for run in runs] == [
        ("finished", None),
        ("finished", "checkpoints/best.ckpt"),
    ]
