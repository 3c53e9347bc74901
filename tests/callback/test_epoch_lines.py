import logging
import re

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from small_fit import classifier, fit

from callback.epoch_lines import EpochLines

NUMBER = r"\d+\.\d{4}"
SPEED = r"[\d,]+ images/s"


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "callback.epoch_lines")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "callback.epoch_lines"]


def matches(lines, patterns):
    assert len(lines) == len(patterns), lines
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line


def run(callback, folder, **settings):
    return fit([callback], [4] * 3, folder, enable_progress_bar=True, **settings)


def test_a_line_for_each_epoch_with_what_it_measured(lines, tmp_path):
    trainer, _ = run(EpochLines(), tmp_path, valid=[4], max_epochs=2)
    means = "  ".join(f"{name} {NUMBER}" for name in ("train_loss", "train_accuracy", "valid_loss"))
    matches(lines(), [rf"epoch 1/2  {means}  {SPEED}  \d:\d\d left", rf"epoch 2/2  {means}  {SPEED}"])
    assert f"train_loss {float(trainer.callback_metrics['train_loss']):.4f}" in lines()[1]


def test_no_validation_of_another_epoch(lines, tmp_path):
    run(EpochLines(), tmp_path, valid=[4], max_epochs=3, check_val_every_n_epoch=2)
    assert ["valid_loss" in line for line in lines()] == [False, True, False]


def test_a_line_now_and_then_in_a_long_epoch(lines, tmp_path, monkeypatch):
    monkeypatch.setattr("callback.epoch_lines.INTERVAL", 0)
    run(EpochLines(), tmp_path)
    now = rf"loss {NUMBER}  accuracy {NUMBER}"
    matches(
        lines(),
        [
            rf"epoch 1/1  33 %  {SPEED}  0:00 left",  # nothing is logged yet
            rf"epoch 1/1  67 %  {now}  {SPEED}  0:00 left",
            rf"epoch 1/1  100 %  {now}  {SPEED}",
            rf"epoch 1/1  train_loss {NUMBER}  train_accuracy {NUMBER}  {SPEED}",
        ],
    )


def test_without_a_last_epoch(lines, tmp_path):
    run(EpochLines(), tmp_path, max_epochs=-1, max_steps=4)
    assert [line.split("  ")[0] for line in lines()] == ["epoch 1", "epoch 2"]


def test_lightning_takes_it_for_its_bar_and_can_silence_it(lines, tmp_path):
    callback = EpochLines()
    callback.disable()
    trainer, _ = run(callback, tmp_path)
    assert trainer.progress_bar_callback is callback
    assert [each for each in trainer.callbacks if isinstance(each, ProgressBar)] == [callback]
    assert lines() == []


def test_a_crash_says_no_epoch(lines, tmp_path):
    class Crash(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            raise RuntimeError("crashed on purpose")

    with pytest.raises(RuntimeError):
        fit([EpochLines(), Crash()], [4], tmp_path, classifier(), enable_progress_bar=True)
    assert lines() == []
