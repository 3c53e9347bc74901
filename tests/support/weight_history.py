"""The weights after each step, to compute averages of: `+callbacks.history._target_=weight_history.History`."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor


class History(Callback):
    """Recorder of the module's state after each step, of the run that began last."""

    steps: list[dict[str, Tensor]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        History.steps = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        History.steps.append({name: value.clone() for name, value in pl_module.state_dict().items()})
