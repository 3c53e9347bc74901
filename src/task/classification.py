"""Classification: one label out of K."""

# B items of a batch, K classes

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from process.errors import UserError
from task.metrics import counts_classes, wrong_where_nan
from task.task import Task, describe


class Classification(Task):
    """One label out of K: outputs are logits [B, K], targets int64 labels [B], predictions probabilities [B, K].

    An item whose logits are NaN counts as incorrect; metrics of the probabilities are then NaN.
    """

    name = "classification"
    class_logits = True

    def loss_count(self, targets: Tensor) -> Tensor | int:
        """Return the number of items, or the sum of their class weights."""
        if isinstance(self.loss, nn.CrossEntropyLoss | nn.NLLLoss) and self.loss.weight is not None:
            return self.loss.weight[targets].sum()
        return len(targets)

    def step_metrics(self, outputs_BK: Tensor, targets: Tensor, inputs: Any = None) -> dict[str, Tensor]:
        """Return the number of correct items as `accuracy`."""
        return {"accuracy": (outputs_BK.argmax(1) == targets).sum()}

    def size_metrics(self, outputs_BK: Tensor, targets: Tensor, inputs: Any = None) -> dict[str, Tensor]:
        """Return the number of correct items; one whose logits are NaN is incorrect."""
        return self.step_metrics(self.scored(self.predict(outputs_BK), targets)[0], targets)

    def predict(self, outputs_BK: Tensor) -> Tensor:
        """Return the probabilities [B, K]."""
        # torchmetrics would take logits for probabilities if all of a batch lie in 0..1; half precision makes ties
        return outputs_BK.float().softmax(1)

    def scored(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probabilities, and in the place of a row with NaN one that is incorrect."""
        return wrong_where_nan(predictions, targets), targets

    def broken_metrics(self, metrics: MetricCollection) -> list[str]:
        """Return the names of the metrics that depend on the probabilities, not only on the predicted classes."""
        return [str(name) for name, metric in metrics.items(keep_base=True) if not counts_classes(metric)]

    def check_targets(self, targets: Any, where: str) -> None:
        if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.ndim != 1:
            raise UserError(
                f"task={self.name} takes one label for each item, int64 [B], and {where} are "
                f"{describe(targets)}: choose the task that fits these data"
            )
