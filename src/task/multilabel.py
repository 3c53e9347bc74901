"""Multi-label classification: which of K labels an item has."""

# B items of a batch, N items of a test, K labels

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.functional.classification import binary_average_precision

from process.errors import UserError
from task.task import Breakdown, Task, describe


class Multilabel(Task):
    """Any number out of K labels: outputs are logits [B, K], targets 0 or 1 as float32 [B, K].

    Predictions are the probabilities sigmoid(z), each label by itself. The step metric is the share of items for which
    all labels are right, those with a probability above 0.5 being predicted.
    """

    name = "multilabel"
    main_metric = ("exact_match", True)
    output_name = "logits"
    loss_options = {"binary_cross_entropy": nn.BCEWithLogitsLoss}
    more_losses = (nn.MultiLabelSoftMarginLoss,)
    label_logits = True

    def step_metrics(self, outputs_BK: Tensor, targets: Tensor, inputs: Any = None) -> dict[str, Tensor]:
        """Return the number of items without a wrong label as `exact_match`; NaN is wrong for any label."""
        right_BK = torch.where(targets > 0.5, outputs_BK > 0, outputs_BK <= 0)
        return {"exact_match": right_BK.all(1).sum()}

    def predict(self, outputs_BK: Tensor) -> Tensor:
        """Return the probabilities [B, K]."""
        return outputs_BK.float().sigmoid()

    def scored(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return predictions, targets.long()

    def breakdown(self, outputs_NK: Tensor, targets: Tensor, names: Sequence[str]) -> Breakdown:
        """Return the exact match, and f1, precision, recall and average precision of each label.

        An item of which a probability is NaN counts as incorrect, and nothing is predicted for it.
        """
        probabilities_NK, names = self.predict(outputs_NK), self.named(names)
        valid_N = ~probabilities_NK.isnan().any(1)
        true_NK, predicted_NK = targets > 0.5, probabilities_NK > 0.5
        exact_N = (true_NK == predicted_NK).all(1) & valid_N
        hits_K, predicted_K, true_K = (each.sum(0).tolist() for each in (true_NK & predicted_NK, predicted_NK, true_NK))
        parts: dict[str, float | None] = {}
        for k, name in enumerate(names):
            hits, predicted, true = hits_K[k], predicted_K[k], true_K[k]
            parts |= {
                f"f1/label={name}": 2 * hits / (predicted + true) if predicted + true else None,
                f"precision/label={name}": hits / predicted if predicted else None,
                f"recall/label={name}": hits / true if true else None,
                f"average_precision/label={name}": _average_precision(
                    probabilities_NK[valid_N, k], true_NK[valid_N, k]
                ),
            }
        overall = {"exact_match": float(exact_N.double().mean())}
        return Breakdown(int((~valid_N).sum()), overall, {"label": parts})

    def answer_names(self) -> list[str]:
        return ["labels"]

    def answers(self, prediction: Tensor, names: Sequence[str]) -> list[str]:
        """Return the names of the labels with a probability above 0.5, joined by `;`."""
        return [";".join(self.counted(prediction, names))]

    def counted(self, prediction: Tensor, names: Sequence[str]) -> list[str]:
        return [name for name, value in zip(self.named(names), prediction.tolist(), strict=True) if value > 0.5]

    def brief(self, prediction: Tensor, spread: Tensor | None, names: Sequence[str]) -> str:
        found = [
            (value, name) for name, value in zip(self.named(names), prediction.tolist(), strict=True) if value > 0.5
        ]
        return ", ".join(f"{name} {value:.4f}" for value, name in sorted(found, reverse=True)) or "no label"

    def value_names(self, names: Sequence[str]) -> list[str]:
        return [f"p({name})" for name in self.named(names)]

    def spread_names(self, names: Sequence[str]) -> list[str]:
        return [f"spread({name})" for name in self.named(names)]

    def check_targets(self, targets: Any, where: str) -> None:
        right = isinstance(targets, Tensor) and targets.is_floating_point() and targets.ndim == 2
        if not right or targets.shape[1] != self.num_outputs:
            raise UserError(
                f"task={self.name} takes a row of 0 and 1 for each item, float32 [B, {self.num_outputs}], and {where} "
                f"are {describe(targets)}: choose the task that fits these data"
            )
        if not torch.logical_or(targets == 0, targets == 1).all():
            raise UserError(f"task={self.name} takes rows of 0 and 1, and {where} hold other values: correct them")


def _average_precision(probabilities_N: Tensor, true_N: Tensor) -> float | None:
    """Return the average precision of one label; None if no item has it."""
    return float(binary_average_precision(probabilities_N, true_N.long())) if true_N.any() else None
