"""config/callbacks/monitor.yaml in whole runs: the columns of metrics.csv and system.csv."""

import csv

import torch
from resumed import SHORT

OFTEN = (*SHORT, "model=cnn", "loggers=none", "hparams.max_epochs=1", "+trainer.log_every_n_steps=1")
MEASURED = {"lr", "grad_norm", "examples"}


def columns(path):
    with path.open(newline="") as file:
        return set(next(csv.reader(file)))


def test_curves_of_a_training(train):
    folder = train(*OFTEN, "callbacks=[basic,monitor]")
    assert columns(folder / "metrics.csv") >= MEASURED | {"train_loss_step", "train_accuracy_step"}
    assert columns(folder / "system.csv") == {"time", "epoch", "step", "images_per_second"}


def test_without_them_and_without_one_of_them(train):
    folder = train(*OFTEN, "callbacks=[basic]")
    assert not columns(folder / "metrics.csv") & MEASURED
    assert not (folder / "system.csv").exists()
    folder = train(*OFTEN, "callbacks=[basic,monitor]", "callbacks.gradient_norm=null")
    assert columns(folder / "metrics.csv") & MEASURED == {"lr", "examples"}


def test_they_change_nothing_in_the_training(train):
    weights = [
        torch.load(train(*OFTEN, f"callbacks={chosen}") / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for chosen in ("[basic]", "[basic,monitor]")
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
