"""A loss and nothing else: for networks that are trained without labels, or whose loss reads more than outputs."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torchmetrics import Metric

from process.errors import UserError
from task.task import Task


class Loss(Task):
    """Any callable loss(outputs, targets), which may take the arguments `inputs` and `others` too.

    `inputs` are the images or the SetBatch that the network was given; `others` is what the network has returned
    besides `output`, by name: attention weights, logits of instances, reconstructions. The callable returns the mean
    loss over the items. Validation and test measure the loss alone; predictions are the outputs.
    """

    name = "loss"

    def __init__(self, num_outputs: int, loss: Any, metrics: Mapping[str, Metric] | None = None) -> None:
        super().__init__(num_outputs, loss, metrics)
        if num_outputs == 1 and isinstance(loss, nn.CrossEntropyLoss):  # the default of `loss=`, for another task
            raise UserError(
                "task=loss needs a loss: choose loss=reconstruction, or name a callable, loss._target_=mine.my_loss"
            )
