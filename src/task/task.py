"""Base class of tasks: everything that depends on the target, and the results of one stage over a data set."""

# B items of a batch, K outputs for each item

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection, SumMetric

from process.errors import UserError
from set_module.bag_classifier import MissingOutputError
from set_module.reduce import accumulable

SHOWN = 4  # numbers of one prediction in a terminal


@dataclass(frozen=True)
class Breakdown:
    """Results of a test beside the metrics of the config; their names have no stage: f1/label=cat.

    Args:
        nan_items: the number of items whose prediction holds NaN.
        overall: results of all items.
        parts: kind of the parts -> NAME/KIND=PART -> result; None where it is not defined.
        matrices: tables of counts by their names.
    """

    nan_items: int
    overall: Mapping[str, float | None] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    matrices: Mapping[str, list[list[int]]] = field(default_factory=dict)


class Task(nn.Module):
    """The loss, the metrics and the predictions of `num_outputs` numbers that a network gives for each item.

    The number of outputs, their loss and the metrics of validation and test are arguments. A subclass says what the
    outputs mean: `predict`, `step_metrics`, `check_targets`. `loss(outputs_BK, targets)` is a mean over `loss_count`. A
    loss may take the arguments `inputs` and `others` too: the images or the SetBatch that the network was given, and
    what it has returned besides `output`, by name.

    Attributes:
        name: the option of `task=`, for messages.
        class_logits: the outputs are logits of classes, and the targets labels.
        values: the predictions are numbers to be compared with the targets, [B, ...] both.
        label_logits: the outputs are logits of labels [B, K], each by itself, and the targets rows of 0 and 1.
        measured_by_steps: whether validation and test measure the step metrics too.
        steps: the names of the step metrics -> whether higher values are better, None if neither direction is. With
            them, a misspelt hparams.monitor is refused before a run begins. None: unknown.
        loss_options: the options of `loss=` that take outputs and targets of this task, with their classes;
            `more_losses` are other classes. All others of torch.nn.modules.loss are refused. Empty: any.
        main_metric: the step metric, or `loss`, that compares two networks, and whether higher values are better.
        output_name: what the outputs of an exported network are called.
        reads_others: the loss reads what the network returns besides its outputs.
    """

    name = "the chosen one"
    class_logits = False
    values = False
    label_logits = False
    measured_by_steps = False
    steps: Mapping[str, bool | None] | None = None
    loss_options: Mapping[str, type[nn.Module]] = {}
    more_losses: tuple[type[nn.Module], ...] = ()
    main_metric: tuple[str, bool] = ("loss", False)
    output_name = "output"

    def __init__(
        self, num_outputs: int, loss: Callable[..., Tensor], metrics: Mapping[str, Metric] | None = None
    ) -> None:
        super().__init__()
        self._check_loss(loss)
        self.num_outputs, self.loss, self.metrics = num_outputs, loss, dict(metrics or {})
        self.asked_for = _asked_for(loss)
        self.reads_others = "others" in self.asked_for
        buffers = dict(loss.named_buffers(recurse=False)) if isinstance(loss, nn.Module) else {}
        for name in {"weight", "pos_weight"} & buffers.keys():  # settings, which a checkpoint must not overwrite
            loss.register_buffer(name, buffers[name], persistent=False)  # type: ignore[attr-defined]

    def batch_loss(self, outputs_BK: Tensor, targets: Any, inputs: Any, others: Mapping[str, Any]) -> Tensor:
        """Return the loss of a batch; `others` is what else the network has returned, by name.

        Raises UserError if the loss reads what the network has not returned.
        """
        more = {name: value for name, value in (("inputs", inputs), ("others", others)) if name in self.asked_for}
        try:
            return self.loss(outputs_BK, targets, **more)
        except MissingOutputError as error:
            raise UserError(str(error)) from error

    def loss_count(self, targets: Any) -> Tensor | int:
        """Return the number by which the loss of a batch is a mean: by default, its items."""
        return len(targets)

    def step_metrics(self, outputs_BK: Tensor, targets: Any, inputs: Any) -> dict[str, Tensor]:
        """Return what a training step measures besides the loss; integers are totals, floats are means over items."""
        return {}

    def declared_steps(self) -> Mapping[str, bool | None] | None:
        """Return `steps`; none of a task without step metrics."""
        return {} if type(self).step_metrics is Task.step_metrics else self.steps

    def result_metrics(self, outputs_BK: Tensor, targets: Any, inputs: Any) -> dict[str, Tensor]:
        """Return the step metrics of a batch that validation and test measure too."""
        return self.step_metrics(outputs_BK, targets, inputs) if self.measured_by_steps else {}

    def size_metrics(self, outputs_BK: Tensor, targets: Any, inputs: Any) -> dict[str, Tensor]:
        """Return what the test measures at several sizes of the set: by default, the step metrics."""
        return self.step_metrics(outputs_BK, targets, inputs)

    def predict(self, outputs_BK: Tensor) -> Tensor:
        """Return the predictions [B, ...]: probabilities, values, counts. By default, the outputs themselves."""
        return outputs_BK.float()

    def scored(self, predictions: Tensor, targets: Any) -> tuple[Tensor, Any]:
        """Return predictions and targets as the metrics take them."""
        return predictions, targets

    def broken_metrics(self, metrics: MetricCollection) -> list[str]:
        """Return the names of the metrics that are NaN where a prediction is: by default, all of them."""
        return [str(name) for name in metrics.keys(keep_base=True)]

    def main_value(self, outputs_BK: Tensor, targets: Any, inputs: Any, others: Mapping[str, Any]) -> float:
        """Return the mean of `main_metric` over the items of a batch."""
        name = self.main_metric[0]
        if name == "loss":
            return float(self.batch_loss(outputs_BK, targets, inputs, others))
        value = self.step_metrics(outputs_BK, targets, inputs)[name]
        return float(value) if value.is_floating_point() else int(value) / len(outputs_BK)

    def breakdown(self, outputs_NK: Tensor, targets: Any, names: Sequence[str]) -> Breakdown:
        """Return what evaluate.py tabulates of a test; `names` are those of the classes or labels."""
        return Breakdown(count_nan(self.predict(outputs_NK)))

    def columns(self, names: Sequence[str], spread: bool) -> list[str]:
        """Return the columns of predict.py; `spread`: with the standard deviation of each number over the draws."""
        return [*self.answer_names(), *self.value_names(names), *(self.spread_names(names) if spread else [])]

    def row(self, prediction: Any, spread: Any, names: Sequence[str]) -> list[str]:
        """Return the cells of one item, of its prediction [...] and, with several draws, its spread [...]."""
        numbers = [] if spread is None else spread.flatten().tolist()
        cells = [f"{value:.7g}" for value in [*prediction.flatten().tolist(), *numbers]]
        return [*self.answers(prediction, names), *cells]

    def brief(self, prediction: Any, spread: Any, names: Sequence[str]) -> str:
        """Return a prediction as a terminal shows it."""
        means = prediction.flatten().tolist()
        stds = [None] * len(means) if spread is None else spread.flatten().tolist()
        found = [
            f"{mean:.4g}" + ("" if std is None else f" ± {std:.2g}") for mean, std in zip(means, stds, strict=True)
        ]
        more = ["..."] if len(found) > SHOWN else []
        return "  ".join([*self.answers(prediction, names), *found[:SHOWN], *more])

    def counted(self, prediction: Any, names: Sequence[str]) -> list[str]:
        """Return what is predicted, in words of which predict.py counts the items: a class, labels, a count."""
        return []

    def answer_names(self) -> list[str]:
        """Return the columns of `answers`."""
        return []

    def answers(self, prediction: Tensor, names: Sequence[str]) -> list[str]:
        """Return what follows from the numbers of a prediction, for columns of its own: labels, a count."""
        return []

    def value_names(self, names: Sequence[str]) -> list[str]:
        """Return the columns of the numbers of a prediction."""
        return numbered("output", self.num_outputs)

    def spread_names(self, names: Sequence[str]) -> list[str]:
        """Return the columns of their standard deviations."""
        values = self.value_names(names)
        return ["spread"] if len(values) == 1 else [f"spread({name})" for name in values]

    def named(self, names: Sequence[str]) -> list[str]:
        """Return the names of the classes or labels, or their numbers if these are the names of something else."""
        return list(names) if len(names) == self.num_outputs else [str(number) for number in range(self.num_outputs)]

    def check_targets(self, targets: Any, where: str) -> None:
        """Raise a UserError if the targets of `where` (`the train targets`) are not of this task."""

    def _check_loss(self, loss: Any) -> None:
        """Raise a UserError for a loss of torch that would take other targets: some of them would broadcast instead."""
        of_torch = type(loss).__module__ == nn.modules.loss.__name__
        if self.loss_options and of_torch and not isinstance(loss, (*self.loss_options.values(), *self.more_losses)):
            options, first = ", ".join(self.loss_options), next(iter(self.loss_options.values()))
            raise UserError(
                f"task={self.name} does not take {type(loss).__name__}: choose loss={options}; for one of several "
                f"tasks, 'task.NAME.loss={{_target_: torch.nn.{first.__name__}}}'"
            )

    def results(self, stage: str) -> "Results":
        """Return the results of a stage, valid or test: metrics that are named valid_*."""
        return Results(stage, self)


def _asked_for(loss: Any) -> set[str]:
    """Return which of `inputs` and `others` are arguments of a loss."""
    call = loss.forward if isinstance(loss, nn.Module) else loss
    try:
        known = signature(call).parameters
    except ValueError:  # of a function that is built in
        return set()
    takes_any = any(each.kind is each.VAR_KEYWORD for each in known.values()) and not isinstance(call, partial)
    return {name for name in ("inputs", "others") if name in known or takes_any}


def numbered(name: str, count: int) -> list[str]:
    """Return NAME_0, NAME_1, ..."""
    return [f"{name}_{number}" for number in range(count)]


def count_nan(predictions: Tensor) -> int:
    """Return the number of items whose prediction holds NaN."""
    return int(predictions.isnan().reshape(len(predictions), -1).any(1).sum())


def describe(targets: Any) -> str:
    """Return `float32 [B, 10]`, the type and the shape of targets in words."""
    if isinstance(targets, Tensor):
        return f"{str(targets.dtype).removeprefix('torch.')} [{', '.join(['B', *map(str, targets.shape[1:])])}]"
    if isinstance(targets, Mapping):
        return "a dictionary of " + ", ".join(f"{name}: {describe(each)}" for name, each in targets.items())
    return f"of type {type(targets).__name__}"


class Results(nn.Module):
    """The mean loss and the metrics of one stage over its data set, on the device until they are computed.

    Items with a prediction that is NaN count as incorrect where the task counts; all other metrics, and the loss, are
    then NaN.
    """

    def __init__(self, stage: str, task: Task, of_task: str = "") -> None:
        super().__init__()
        self.stage, self.prefix = stage, f"{stage}_{of_task}"
        self._task = [task]  # not a submodule: the LightningModule holds it
        # sums, as MeanMetric leaves out NaN, or else forgets the weights
        self.loss, self.count, self.nan_items = (SumMetric(nan_strategy="disable") for _ in range(3))
        # compute_groups would merge for good two metrics that agree on the first batch, such as accuracy and top_5
        self.metrics = MetricCollection(dict(task.metrics), prefix=self.prefix, compute_groups=False).clone()

    def measure(self, outputs_BK: Tensor, targets: Any, inputs: Any, others: Mapping[str, Any]) -> None:
        """Add a batch and its loss."""
        (task,) = self._task
        self.update(outputs_BK, targets, task.batch_loss(accumulable(outputs_BK), targets, inputs, others))

    def update(self, outputs_BK: Tensor, targets: Any, loss: Tensor, count: Tensor | int | None = None) -> None:
        """Add a batch, whose loss is a mean over `count`: by default, what the task says."""
        (task,) = self._task
        count = task.loss_count(targets) if count is None else count
        self.loss.update(loss * count)
        self.count.update(count)
        if len(self.metrics) == 0:
            return
        predictions = task.predict(outputs_BK)
        self.nan_items.update(predictions.isnan().reshape(len(predictions), -1).any(1).sum())
        self.metrics.update(*task.scored(predictions, targets))

    def compute(self) -> dict[str, Tensor]:
        """Return the results since the last call, and reset them."""
        (task,) = self._task
        results = {f"{self.prefix}loss": self.loss.compute() / self.count.compute()}
        if len(self.metrics):
            results |= self.metrics.compute()
            if self.nan_items.compute() > 0:
                broken = [f"{self.prefix}{name}" for name in task.broken_metrics(self.metrics)]
                results |= dict.fromkeys(broken, torch.full_like(results[f"{self.prefix}loss"], torch.nan))
        self.reset()
        return {name: value if value.is_floating_point() else value.float() for name, value in results.items()}

    def reset(self) -> None:
        for metric in (self.loss, self.count, self.nan_items, self.metrics):
            metric.reset()
