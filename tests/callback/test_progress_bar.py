import pytest
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers.logger import DummyLogger

from callback.progress_bar import ProgressBar


def test_metrics_without_the_version_of_the_logger():
    class Named(DummyLogger):
        version = "0123"

    trainer = Trainer(accelerator="cpu", logger=Named(), callbacks=[bar := ProgressBar()])
    assert "v_num" not in bar.get_metrics(trainer, LightningModule())


@pytest.mark.parametrize(("interval", "drawn"), [(0, [0, 1, 2, 3, 4]), (3, [0, 3, 4])])
def test_draws_after_the_interval_and_at_the_end(monkeypatch, interval, drawn):
    seen, clock = [], iter(range(100, 200))
    monkeypatch.setattr("callback.progress_bar.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(RichProgressBar, "on_train_batch_end", lambda *arguments: seen.append(arguments[-1]))
    trainer = Trainer(accelerator="cpu", logger=False, callbacks=[bar := ProgressBar(interval)])
    monkeypatch.setattr(Trainer, "num_training_batches", 5)
    for step in range(5):
        bar.on_train_batch_end(trainer, LightningModule(), None, None, step)
    assert seen == drawn
