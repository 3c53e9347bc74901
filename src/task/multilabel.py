"""Multi-label classification: which of K labels an item has."""

# B items of a batch, K labels

from typing import Any

import torch
from torch import Tensor

from process.errors import UserError
from task.task import Task, describe


class Multilabel(Task):
    """Any number out of K labels: outputs are logits [B, K], targets 0 or 1 as float32 [B, K].

    Predictions are the probabilities sigmoid(z), each label by itself. The step metric is the share of items for which
    all labels are right, those with a probability above 0.5 being predicted.
    """

    name = "multilabel"

    def step_metrics(self, outputs_BK: Tensor, targets: Tensor, inputs: Any = None) -> dict[str, Tensor]:
        """Return the number of items without a wrong label as `exact_match`."""
        return {"exact_match": ((outputs_BK > 0) == (targets > 0.5)).all(1).sum()}

    def predict(self, outputs_BK: Tensor) -> Tensor:
        """Return the probabilities [B, K]."""
        return outputs_BK.float().sigmoid()

    def scored(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return predictions, targets.long()

    def check_targets(self, targets: Any, where: str) -> None:
        right = isinstance(targets, Tensor) and targets.is_floating_point() and targets.ndim == 2
        if not right or targets.shape[1] != self.num_outputs:
            raise UserError(
                f"task={self.name} takes a row of 0 and 1 for each item, float32 [B, {self.num_outputs}], and {where} "
                f"are {describe(targets)}: choose the task that fits these data"
            )
        if not torch.logical_or(targets == 0, targets == 1).all():
            raise UserError(f"task={self.name} takes rows of 0 and 1, and {where} hold other values: correct them")
