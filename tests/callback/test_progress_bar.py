from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.loggers.logger import DummyLogger

from callback.progress_bar import ProgressBar


def test_metrics_without_the_version_of_the_logger():
    class Named(DummyLogger):
        version = "0123"

    trainer = Trainer(accelerator="cpu", logger=Named(), callbacks=[bar := ProgressBar()])
    assert "v_num" not in bar.get_metrics(trainer, LightningModule())
