"""The task of most tests: classification by cross-entropy."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torchmetrics import Metric

from task.classification import Classification


def classification(
    metrics: Mapping[str, Metric] | None = None, loss: Any = None, num_classes: int = 3
) -> Classification:
    return Classification(num_classes, nn.CrossEntropyLoss() if loss is None else loss, metrics)
