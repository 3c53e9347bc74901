"""Regression: numbers of any shape, and counts by a Poisson distribution."""

# B items of a batch, K outputs for each item

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from process.errors import UserError
from task.task import Task, describe


class Regression(Task):
    """Numbers: outputs [B, K] are the predictions of targets [B, *shape], K = prod(shape); [] is one number per item.

    The loss is any of (predictions, targets): L1, L2, Huber. The step metric is the mean absolute error, and the share
    of exact items, see `task.metrics.Exact`, if the metrics hold it too.
    """

    values = True
    name = "regression"

    def __init__(self, shape: Sequence[int] = (), **settings: Any) -> None:
        super().__init__(**settings)
        self.shape = tuple(shape)

    def batch_loss(self, outputs_BK: Tensor, targets: Tensor, inputs: Any, others: Any) -> Tensor:
        return self.loss(self._shaped(outputs_BK), targets)

    def step_metrics(self, outputs_BK: Tensor, targets: Tensor, inputs: Any = None) -> dict[str, Tensor]:
        """Return the mean absolute error `mae`, and the number of `exact` items if the metrics hold it."""
        predictions = self.predict(outputs_BK.detach())
        measured = {"mae": (predictions - targets).abs().mean()}
        if "exact" in self.metrics:
            measured["exact"] = (self.rounded(predictions) == targets).reshape(len(targets), -1).all(1).sum()
        return measured

    def predict(self, outputs_BK: Tensor) -> Tensor:
        """Return the predicted values [B, *shape]."""
        return self._shaped(outputs_BK.float())

    def rounded(self, predictions: Tensor) -> Tensor:
        """Return the whole numbers that are predicted."""
        return predictions.round()

    def scored(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return predictions and targets as [B] or [B, K]."""
        return (predictions, targets) if targets.ndim == 1 else (predictions.flatten(1), targets.flatten(1))

    def _shaped(self, outputs_BK: Tensor) -> Tensor:
        return outputs_BK.reshape(len(outputs_BK), *self.shape)

    def check_targets(self, targets: Any, where: str) -> None:
        expected = ", ".join(["B", *map(str, self.shape)])
        floating = isinstance(targets, Tensor) and targets.is_floating_point()
        if not floating or tuple(targets.shape[1:]) != self.shape:
            raise UserError(
                f"task={self.name} takes floating-point targets [{expected}] (data.target_shape), and {where} are "
                f"{describe(targets)}: choose the task that fits these data"
            )
        if not targets.isfinite().all():
            raise UserError(f"{where} hold NaN or infinite values: remove these items")


class Count(Regression):
    """Counts: outputs [B, K] are logarithms of the rates of Poisson distributions, predictions the rates.

    The loss is the negative log-likelihood exp(z) - y z, without the term of y alone (torch.nn.PoissonNLLLoss). An item
    is exact if the mode of its distribution, floor(rate), is the count.
    """

    name = "count"

    def predict(self, outputs_BK: Tensor) -> Tensor:
        """Return the rates [B, *shape]."""
        return self._shaped(outputs_BK.float().exp())

    def rounded(self, predictions: Tensor) -> Tensor:
        """Return the modes of the distributions."""
        return predictions.floor()

    def check_targets(self, targets: Any, where: str) -> None:
        super().check_targets(targets, where)
        if (targets < 0).any() or (targets != targets.round()).any():
            raise UserError(f"task=count takes whole numbers >= 0, and {where} hold others: choose task=regression")
