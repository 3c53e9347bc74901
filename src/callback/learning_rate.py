"""The learning rate as a curve."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class LearningRate(Callback):
    """`lr`: the rate of the logged step, not that of the next; of several groups `lr/<name or number>` each."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        metrics: Any = pl_module.step_metrics
        if not pl_module.logs_now:
            return
        (optimizer,) = trainer.optimizers
        if len(optimizer.param_groups) == 1:
            metrics["lr"] = float(optimizer.param_groups[0]["lr"])
            return
        for number, group in enumerate(optimizer.param_groups):
            metrics[f"lr/{group.get('name', number)}"] = float(group["lr"])
