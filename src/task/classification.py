"""Classification: one label out of K."""

# B items of a batch, N items of a test, K classes

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.functional.classification import multiclass_confusion_matrix

from process.errors import UserError
from task.metrics import counts_classes, wrong_where_nan
from task.task import Breakdown, Task, describe


class Classification(Task):
    """One label out of K: outputs are logits [B, K], targets int64 labels [B], predictions probabilities [B, K].

    An item whose logits are NaN counts as incorrect; metrics of the probabilities are then NaN.
    """

    name = "classification"
    class_logits = True
    main_metric = ("accuracy", True)
    output_name = "logits"
    loss_options = {"cross_entropy": nn.CrossEntropyLoss, "multi_margin": nn.MultiMarginLoss}
    more_losses = (nn.NLLLoss,)

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

    def breakdown(self, outputs_NK: Tensor, targets: Tensor, names: Sequence[str]) -> Breakdown:
        """Return the accuracy, that of each class, and the confusion matrix.

        A row of the matrix is a true class, a column a predicted one. An item of which a probability is NaN counts as
        incorrect and is not in the matrix.
        """
        probabilities_NK, names = outputs_NK.softmax(1), self.named(names)
        correct_N = wrong_where_nan(probabilities_NK, targets).argmax(1) == targets
        counts_K, hits_K = (each.bincount(minlength=len(names)).tolist() for each in (targets, targets[correct_N]))
        recall_K = [hits / count if count else None for hits, count in zip(hits_K, counts_K, strict=True)]
        valid_N = ~probabilities_NK.isnan().any(1)
        confusion_KK = multiclass_confusion_matrix(outputs_NK[valid_N], targets[valid_N], num_classes=len(names))
        return Breakdown(
            int((~valid_N).sum()),
            {"accuracy": float(correct_N.double().mean())},
            {"class": {f"accuracy/class={name}": recall for name, recall in zip(names, recall_K, strict=True)}},
            {"confusion_matrix": confusion_KK.tolist()},
        )

    def columns(self, names: Sequence[str], spread: bool) -> list[str]:
        """Return class, its probability, with several draws the spread of this, and p(NAME) of each class."""
        return ["class", "probability", *(["spread"] if spread else []), *(f"p({name})" for name in self.named(names))]

    def row(self, prediction: Tensor, spread: Tensor | None, names: Sequence[str]) -> list[str]:
        label, means = int(prediction.argmax()), prediction.tolist()
        std = [] if spread is None else [float(spread[label])]
        return [self.named(names)[label], *(f"{value:.6f}" for value in (means[label], *std, *means))]

    def brief(self, prediction: Tensor, spread: Tensor | None, names: Sequence[str]) -> str:
        label = int(prediction.argmax())
        found = [float(each[label]) for each in (prediction, spread) if each is not None]
        return f"{self.named(names)[label]}  {' ± '.join(f'{value:.4f}' for value in found)}"

    def counted(self, prediction: Tensor, names: Sequence[str]) -> list[str]:
        return [self.named(names)[int(prediction.argmax())]]

    def check_targets(self, targets: Any, where: str) -> None:
        if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.ndim != 1:
            raise UserError(
                f"task={self.name} takes one label for each item, int64 [B], and {where} are "
                f"{describe(targets)}: choose the task that fits these data"
            )
