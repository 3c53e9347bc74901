"""The progress bar, without Lightning's `v_num` and without its work on steps at which nothing is drawn."""

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar


class ProgressBar(RichProgressBar):
    """A rich progress bar of what is logged with `prog_bar=True`, redrawn every `refresh_rate` steps."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Lightning collects the metrics on every step, also when it does not draw them
        if (
            not self.refresh_rate
            or (batch_idx + 1) % self.refresh_rate == 0
            or batch_idx + 1 == trainer.num_training_batches
        ):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(self, trainer: Trainer, model: LightningModule) -> dict[str, int | str | float | dict[str, float]]:
        metrics = super().get_metrics(trainer, model)
        metrics.pop("v_num", None)  # the folder's name, cut off
        return metrics
