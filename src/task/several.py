"""Several tasks on one network, a head for each, whose losses are added."""

# B items of a batch, K outputs for each item, of all tasks together

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from process.errors import UserError
from task.task import Breakdown, Results, Task


class Several(Task):
    """Tasks by name, each with its own part of the outputs [B, K]; loss = sum of weight * loss over the tasks.

    A weight that is not given is 1. Targets are a dictionary {name: targets of that task}. Step metrics and metrics
    bear the name of their task: train_max_mae, valid_max_mae, valid_max_loss.
    """

    def __init__(self, tasks: Mapping[str, Task], weights: Mapping[str, float]) -> None:
        super().__init__(sum(task.num_outputs for task in tasks.values()), nn.Identity())
        self.name = ",".join(tasks)
        self.tasks, self.modules_of_tasks = dict(tasks), nn.ModuleDict(tasks)
        self.reads_others = any(task.reads_others for task in tasks.values())
        self.weights = {name: weights.get(name, 1.0) for name in tasks}
        self.measured_by_steps = any(task.measured_by_steps for task in tasks.values())

    def parts(self, outputs_BK: Tensor) -> dict[str, Tensor]:
        """Return the outputs of each task."""
        sizes = [task.num_outputs for task in self.tasks.values()]
        return dict(zip(self.tasks, outputs_BK.split(sizes, dim=1), strict=True))

    def batch_loss(self, outputs_BK: Tensor, targets: Any, inputs: Any, others: Mapping[str, Any]) -> Tensor:
        parts = self.parts(outputs_BK)
        losses = [
            self.weights[name] * task.batch_loss(parts[name], targets[name], inputs, others)
            for name, task in self.tasks.items()
        ]
        return sum(losses[1:], losses[0])

    def step_metrics(self, outputs_BK: Tensor, targets: Any, inputs: Any) -> dict[str, Tensor]:
        return self._of_each("step_metrics", outputs_BK, targets, inputs)

    def result_metrics(self, outputs_BK: Tensor, targets: Any, inputs: Any) -> dict[str, Tensor]:
        return self._of_each("result_metrics", outputs_BK, targets, inputs)

    def size_metrics(self, outputs_BK: Tensor, targets: Any, inputs: Any) -> dict[str, Tensor]:
        return self._of_each("size_metrics", outputs_BK, targets, inputs)

    def _of_each(self, method: str, outputs_BK: Tensor, targets: Any, inputs: Any) -> dict[str, Tensor]:
        parts, found = self.parts(outputs_BK), dict[str, Tensor]()
        for name, task in self.tasks.items():
            found |= _prefixed(name, getattr(task, method)(parts[name], targets[name], inputs))
        return found

    def predict(self, outputs_BK: Tensor) -> Any:
        """Return the predictions of each task by its name."""
        return {name: self.tasks[name].predict(part_BK) for name, part_BK in self.parts(outputs_BK).items()}

    def breakdown(self, outputs_NK: Tensor, targets: Any, names: Sequence[str]) -> Breakdown:
        """Return the results of all tasks under the names of these; nan_items is the largest number of a task."""
        parts, nan_items = self.parts(outputs_NK), 0
        overall: dict[str, float | None] = {}
        matrices: dict[str, list[list[int]]] = {}
        kinds: dict[str, dict[str, float | None]] = {}
        for task_name, task in self.tasks.items():
            found = task.breakdown(parts[task_name], targets[task_name], names)
            nan_items = max(nan_items, found.nan_items)
            overall |= _prefixed(task_name, found.overall)
            matrices |= _prefixed(task_name, found.matrices)
            for kind, values in found.parts.items():
                kinds.setdefault(kind, {}).update(_prefixed(task_name, values))
        return Breakdown(nan_items, overall, kinds, matrices)

    def columns(self, names: Sequence[str], spread: bool) -> list[str]:
        return [f"{name}_{column}" for name, task in self.tasks.items() for column in task.columns(names, spread)]

    def row(self, prediction: Any, spread: Any, names: Sequence[str]) -> list[str]:
        spreads = spread or dict.fromkeys(self.tasks)
        return [cell for name, task in self.tasks.items() for cell in task.row(prediction[name], spreads[name], names)]

    def brief(self, prediction: Any, spread: Any, names: Sequence[str]) -> str:
        spreads = spread or dict.fromkeys(self.tasks)
        briefs = {name: task.brief(prediction[name], spreads[name], names) for name, task in self.tasks.items()}
        return "  ".join(f"{name}: {words}" for name, words in briefs.items())

    def results(self, stage: str) -> "SeveralResults":
        return SeveralResults(stage, self)

    def check_targets(self, targets: Any, where: str) -> None:
        if not isinstance(targets, Mapping) or targets.keys() != set(self.tasks):
            found = f"those of {', '.join(targets)}" if isinstance(targets, Mapping) else "those of one task"
            raise UserError(
                f"task=[{','.join(self.tasks)}] takes targets of each of these tasks, and {where} are {found}"
            )
        for name, task in self.tasks.items():
            task.check_targets(targets[name], f"{where} of {name}")


class SeveralResults(Results):
    """The results of each task, valid_max_loss and valid_max_mae, and the weighted sum of the losses, valid_loss."""

    def __init__(self, stage: str, task: Several) -> None:
        super().__init__(stage, task)
        self.of_tasks = {name: Results(stage, each, f"{name}_") for name, each in task.tasks.items()}
        self.modules_of_tasks = nn.ModuleDict(self.of_tasks)

    def measure(self, outputs_BK: Tensor, targets: Any, inputs: Any, others: Mapping[str, Any]) -> None:
        task: Any = self._task[0]
        for name, part_BK in task.parts(outputs_BK).items():
            self.of_tasks[name].measure(part_BK, targets[name], inputs, others)

    def compute(self) -> dict[str, Tensor]:
        task: Any = self._task[0]
        results: dict[str, Tensor] = {}
        for each in self.of_tasks.values():
            results |= each.compute()
        losses = [task.weights[name] * results[f"{self.stage}_{name}_loss"] for name in task.tasks]
        return {f"{self.stage}_loss": sum(losses[1:], losses[0]), **results}


def _prefixed(task: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{task}_{name}": value for name, value in values.items()}
