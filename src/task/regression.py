"""Regression: numbers of any shape, and counts by a Poisson distribution."""

# B items of a batch, N items of a test, K outputs for each item

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from process.errors import UserError
from task.task import Breakdown, Task, count_nan, describe, numbered


class Regression(Task):
    """Numbers: outputs [B, K] are the predictions of targets [B, *shape], K = prod(shape); [] is one number per item.

    The loss is any of (predictions, targets): L1, L2, Huber. The step metric is the mean absolute error, and the share
    of exact items, see `task.metrics.Exact`, if the metrics hold it too.
    """

    values = True
    name = "regression"
    loss_options = {"l1": nn.L1Loss, "l2": nn.MSELoss, "huber": nn.HuberLoss}
    more_losses: tuple[type[nn.Module], ...] = (nn.SmoothL1Loss,)
    main_metric = ("mae", False)
    value_name = "prediction"

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
            measured["exact"] = (predictions.round() == targets).reshape(len(targets), -1).all(1).sum()
        return measured

    def predict(self, outputs_BK: Tensor) -> Tensor:
        """Return the predicted values [B, *shape]."""
        return self._shaped(outputs_BK.float())

    def scored(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return predictions and targets as [B] or [B, K]."""
        return (predictions, targets) if targets.ndim == 1 else (predictions.flatten(1), targets.flatten(1))

    def breakdown(self, outputs_NK: Tensor, targets: Tensor, names: Sequence[str]) -> Breakdown:
        """Return mae, rmse and r2 of all numbers, and of each if there are several; r2 of constant targets is None."""
        predictions = self.predict(outputs_NK)
        predictions_NK, targets_NK = (each.double().reshape(len(each), -1) for each in (predictions, targets))
        columns = zip(predictions_NK.unbind(1), targets_NK.unbind(1), strict=True)
        of_each = [_errors(predicted_N, true_N) for predicted_N, true_N in columns]
        overall = _errors(predictions_NK, targets_NK)
        r2 = [each["r2"] for each in of_each]
        overall["r2"] = sum(r2) / len(r2) if all(value is not None for value in r2) else None  # type: ignore[arg-type]
        parts = {f"{name}/component={k}": value for k, each in enumerate(of_each) for name, value in each.items()}
        return Breakdown(count_nan(predictions), overall, {"component": parts} if len(of_each) > 1 else {})

    def value_names(self, names: Sequence[str]) -> list[str]:
        return [self.value_name] if self.num_outputs == 1 else numbered(self.value_name, self.num_outputs)

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
    is exact if the rate, rounded, is the count. The mode, floor(rate), would be right in only half of the cases where
    the count follows from the set: the best rate is then the count itself, where the floor jumps.
    """

    name = "count"
    value_name = "rate"
    output_name = "log_rates"
    loss_options = {"poisson": nn.PoissonNLLLoss}
    more_losses = ()

    def predict(self, outputs_BK: Tensor) -> Tensor:
        """Return the rates [B, *shape]."""
        return self._shaped(outputs_BK.float().exp())

    def breakdown(self, outputs_NK: Tensor, targets: Tensor, names: Sequence[str]) -> Breakdown:
        """Return the share of exact items, mae, and for numbers [B] both of the items of each true count."""
        predictions = self.predict(outputs_NK)
        exact_N = (predictions.round() == targets).reshape(len(targets), -1).all(1).double()
        error_N = (predictions.double() - targets).abs().reshape(len(targets), -1).mean(1)
        parts: dict[str, float | None] = {}
        for count in targets.unique().tolist() if targets.ndim == 1 else ():
            chosen_M = (targets == count).nonzero().flatten()
            for name, value_N in (("exact", exact_N), ("mae", error_N)):
                parts[f"{name}/count={count:.0f}"] = float(value_N[chosen_M].mean())
        overall = {"exact": float(exact_N.mean()), "mae": float(error_N.mean())}
        return Breakdown(count_nan(predictions), overall, {"count": parts} if parts else {})

    def answer_names(self) -> list[str]:
        return ["count"] if self.num_outputs == 1 else numbered("count", self.num_outputs)

    def answers(self, prediction: Tensor, names: Sequence[str]) -> list[str]:
        """Return the rounded rates."""
        return [f"{value:.0f}" for value in prediction.round().flatten().tolist()]

    def counted(self, prediction: Tensor, names: Sequence[str]) -> list[str]:
        return self.answers(prediction, names) if self.num_outputs == 1 else []

    def check_targets(self, targets: Any, where: str) -> None:
        super().check_targets(targets, where)
        if (targets < 0).any() or (targets != targets.round()).any():
            raise UserError(f"task=count takes whole numbers >= 0, and {where} hold others: choose task=regression")


def _errors(predictions: Tensor, targets: Tensor) -> dict[str, float | None]:
    """Return the mean absolute error, the root of the mean squared error, and r2 = 1 - mse / variance."""
    squared, variance = float((predictions - targets).square().mean()), float(targets.var(correction=0))
    mae = float((predictions - targets).abs().mean())
    return {"mae": mae, "rmse": squared**0.5, "r2": 1 - squared / variance if variance else None}
