"""The share of items whose predicted numbers are right after rounding."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class Exact(Metric):
    """Share of items all of whose predictions [B] or [B, K], rounded, are the targets."""

    higher_is_better = True
    exact: Tensor
    items: Tensor

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_state("exact", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("items", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        self.exact += (predictions.round() == targets).reshape(len(targets), -1).all(1).sum()
        self.items += len(targets)

    def compute(self) -> Tensor:
        return self.exact / self.items
