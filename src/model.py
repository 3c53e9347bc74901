"""TaskModule: a LightningModule of any network, with a task (loss, metrics, predictions) and an optimizer."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from adapter import lightning
from set_module.reduce import accumulable
from set_module.set_batch import SetBatch
from set_module.set_network import draws_patches, logits_at, patch_num_range, split_outputs
from task.several import Several
from task.task import Results, Task
from training_log import TrainingLog, describe_items

log = logging.getLogger(__name__)

# B items (images or sets), K outputs of the network for each item
Batch = tuple[Tensor | SetBatch, Any, Tensor]  # images_BCHW uint8 or a SetBatch, targets, index_B


class TaskModule(TrainingLog):
    """Train `network(inputs, index_B) -> outputs_BK` on a task, with an optimizer and a scheduler given as partials.

    The network may return a dictionary instead: `output`, and what the loss of the task may read besides. A network
    with a loss of its own has `training_loss(inputs, targets, index_B, loss) -> outputs_BK, its loss`, to which
    loss(outputs, targets) is that of the task. Logs
    train_loss and the step metrics of the task (train_accuracy), and valid_* and test_*: the loss and the metrics of
    the task, over the data set. The constructor raises the optimizer's error for wrong arguments, before data is
    loaded. `skip_nonfinite` leaves out a batch whose loss is NaN or infinite; the check makes a GPU wait at each step.

    Args:
        task: the task, or several by name: then with a part of the outputs for each.
        task_weights: name -> weight of the loss of a task among several; 1 by default.
        sizes: numbers of patches at which the test measures the step metrics too, `test_accuracy/n=16`, up to
            `largest_size`: by default, the largest that the network draws. Networks that draw no patches ignore them.
        name_suffix: the end of the names of all other results of validation and test.
        embed_lr: learning rate of the embedding, see TrainingLog.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task | Mapping[str, Task],
        lr: float,
        optimizer: partial[Optimizer],
        scheduler: Mapping[str, Any] | None = None,
        skip_nonfinite: bool = False,
        sizes: Sequence[int] = (),
        name_suffix: str = "",
        task_weights: Mapping[str, float] | None = None,
        embed_lr: float | str | None = None,
    ) -> None:
        super().__init__(lr, optimizer, scheduler, embed_lr)
        self.network, self.skip_nonfinite = network, skip_nonfinite
        if isinstance(task, Mapping):
            (first, *others) = task.values()
            task = Several(task, task_weights or {}) if others else first
        self.task = task
        # what figures ask for, see `training_log.missing`
        if task.class_logits:
            self.test_logits = True
        if task.values:
            self.test_values = True
        if task.label_logits:
            self.test_labels = True
        self.sizes, self.name_suffix = sizes, name_suffix
        self.largest_size: int | None = None
        optimizer(self.parameter_groups(), lr=lr)  # only to check its arguments
        self.valid, self.test = task.results("valid"), task.results("test")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "TaskModule":
        """Convert only the network to bf16 (`trainer.precision=bf16-true`): sums in bf16 stop growing at 256."""

        def moved(x: Tensor) -> Tensor:
            converted = fn(x)
            return x.to(converted.device) if converted.dtype in (torch.bfloat16, torch.float16) else converted

        for module in self.children() if recurse else ():
            module._apply(fn if module is self.network else moved)
        return super()._apply(moved, recurse=False)

    def setup(self, stage: str) -> None:
        lightning.keep_targets(self.trainer)

    def forward(self, inputs: Tensor | SetBatch, index_B: Tensor | None = None) -> Tensor:
        return split_outputs(self.network(inputs, index_B))[0]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        inputs, targets, index_B = batch
        own_loss: Any = getattr(self.network, "training_loss", None)
        if own_loss is not None:
            outputs_BK, loss = own_loss(inputs, targets, index_B, partial(self._task_loss, inputs))
            outputs_BK = accumulable(outputs_BK)
        else:
            outputs_BK, others = split_outputs(self.network(inputs, index_B))
            outputs_BK = accumulable(outputs_BK)
            loss = self.task.batch_loss(outputs_BK, targets, inputs, others)
        measured = self.task.step_metrics(outputs_BK, targets, inputs)
        if self.skip_nonfinite and not torch.isfinite(loss):
            step = self.trainer.fit_loop.total_batch_idx
            items = describe_items(self.trainer, index_B)
            log.warning(f"step {step}: the loss of {items} is {loss.item()}; left out")
            nothing = {name: torch.zeros_like(value) for name, value in measured.items()}
            self.add_step(0, "train", loss=torch.zeros_like(loss), **nothing)
            return None
        self.add_step(len(index_B), "train", loss=loss, **measured)
        return loss

    def _task_loss(self, inputs: Tensor | SetBatch, outputs_BK: Tensor, targets: Any) -> Tensor:
        return self.task.batch_loss(accumulable(outputs_BK), targets, inputs, {})

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._measure(batch, self.valid)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if not draws_patches(self.network):
            return self._measure(batch, self.test)
        inputs, targets, index_B = batch
        smallest, largest = patch_num_range(self.network)
        sizes = [size for size in self.sizes if size <= (self.largest_size or largest)]
        reusable = smallest == largest and not self.task.reads_others
        numbers = [*sizes, largest] if reusable else sizes
        found = logits_at(self.network, inputs, index_B, numbers)
        for size in sizes:
            measured = self.task.size_metrics(found[size], targets, inputs)
            self.add_step(len(index_B), "test", **{f"{name}/n={size}": value for name, value in measured.items()})
        return self._measure(batch, self.test, found[largest] if reusable else None)

    def _measure(self, batch: Batch, results: Results, outputs_BK: Tensor | None = None) -> Tensor:
        """Return the outputs [B, K], which callbacks get as `outputs`."""
        inputs, targets, index_B = batch
        others: Mapping[str, Any] = {}
        if outputs_BK is None:
            outputs_BK, others = split_outputs(self.network(inputs, index_B))
        results.measure(outputs_BK, targets, inputs, others)
        if self.task.measured_by_steps:
            measured = self.task.result_metrics(accumulable(outputs_BK), targets, inputs)
            named = {f"{name}{self.name_suffix}": value for name, value in measured.items()}
            self.add_step(len(index_B), results.stage, **named)
        return outputs_BK

    def on_validation_epoch_end(self) -> None:
        self._log_results(self.valid, prog_bar=True)  # no sync_dist: torchmetrics gathers the ranks
        if self.task.measured_by_steps:
            super().on_validation_epoch_end()

    def on_test_epoch_end(self) -> None:
        self._log_results(self.test)
        super().on_test_epoch_end()  # the step metrics at `sizes`

    def _log_results(self, results: Results, prog_bar: bool = False) -> None:
        named = {f"{name}{self.name_suffix}": value for name, value in results.compute().items()}
        self.log_dict(named, prog_bar=prog_bar)

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Any]:
        """Return outputs [B, K] and targets."""
        inputs, targets, index_B = batch
        return self(inputs, index_B), targets
