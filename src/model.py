"""Classifier: a LightningModule of any network, with a loss, an optimizer and metrics."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import Metric, MetricCollection, SumMetric

from metrics import counts_classes, wrong_where_nan
from set_module.reduce import accumulable
from set_module.set_batch import SetBatch
from set_module.set_network import draws_patches, logits_at, patch_num_range
from training_log import TrainingLog, describe_images

log = logging.getLogger(__name__)

# B images or bags of images, K classes
Batch = tuple[Tensor | SetBatch, Tensor, Tensor]  # images_BCHW uint8 or bags of images, labels_B, index_B


class Classifier(TrainingLog):
    """Train `network(images_BCHW, index_B) -> logits_BK` with a loss, an optimizer and a scheduler given as partials.

    Logs train_loss and train_accuracy, and valid_* and test_*: the loss and each of `metrics`, over the data set.
    The constructor raises the optimizer's error for wrong arguments, before data is loaded. `skip_nonfinite` leaves out
    a batch whose loss is NaN or infinite; the check makes a GPU wait at each step.

    Args:
        sizes: numbers of patches at which the test measures the accuracy too, `test_accuracy/n=16`, up to
            `largest_size`: by default, the largest that the network draws. Networks that draw no patches ignore them.
        name_suffix: the end of the names of all other results of validation and test.
    """

    test_logits = True

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        metrics: Mapping[str, Metric],
        lr: float,
        optimizer: partial[Optimizer],
        scheduler: Mapping[str, Any] | None = None,
        skip_nonfinite: bool = False,
        sizes: Sequence[int] = (),
        name_suffix: str = "",
    ) -> None:
        super().__init__(lr, optimizer, scheduler)
        self.network, self.loss, self.skip_nonfinite = network, loss, skip_nonfinite
        self.sizes, self.name_suffix = sizes, name_suffix
        self.largest_size: int | None = None
        buffers = dict(loss.named_buffers())
        if "weight" in buffers:  # class weights: a setting, which a checkpoint must not overwrite
            loss.register_buffer("weight", buffers["weight"], persistent=False)
        optimizer(self.parameters(), lr=lr)  # only to check its arguments
        self.valid, self.test = Results("valid", metrics), Results("test", metrics)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Classifier":
        """Convert only the network to bf16 (`trainer.precision=bf16-true`): sums in bf16 stop growing at 256."""

        def moved(x: Tensor) -> Tensor:
            converted = fn(x)
            return x.to(converted.device) if converted.dtype in (torch.bfloat16, torch.float16) else converted

        for module in self.children() if recurse else ():
            module._apply(fn if module is self.network else moved)
        return super()._apply(moved, recurse=False)

    def forward(self, images_BCHW: Tensor | SetBatch, index_B: Tensor | None = None) -> Tensor:
        return self.network(images_BCHW, index_B)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        images_BCHW, labels_B, index_B = batch
        logits_BK = self.network(images_BCHW, index_B)
        loss = self.loss(accumulable(logits_BK), labels_B)
        if self.skip_nonfinite and not torch.isfinite(loss):
            step = self.trainer.fit_loop.total_batch_idx
            images = describe_images(self.trainer, index_B)
            log.warning(f"step {step}: the loss of {images} is {loss.item()}; left out")
            self.add_step(0, loss=torch.zeros_like(loss), accuracy=labels_B.new_zeros(()))
            return None
        self.add_step(len(labels_B), loss=loss, accuracy=(logits_BK.argmax(1) == labels_B).sum())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._measure(batch, self.valid)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if not draws_patches(self.network):
            return self._measure(batch, self.test)
        images_BCHW, labels_B, index_B = batch
        smallest, largest = patch_num_range(self.network)
        sizes = [size for size in self.sizes if size <= (self.largest_size or largest)]
        numbers = [*sizes, largest] if smallest == largest else sizes
        found = logits_at(self.network, images_BCHW, index_B, numbers)
        for size in sizes:
            predicted_B = wrong_where_nan(found[size].float().softmax(1), labels_B).argmax(1)
            self.add_step(len(labels_B), "test", **{f"accuracy/n={size}": (predicted_B == labels_B).sum()})
        return self._measure(batch, self.test, found[largest] if smallest == largest else None)

    def _measure(self, batch: Batch, results: "Results", logits_BK: Tensor | None = None) -> Tensor:
        """Return the logits [B, K], which callbacks get as `outputs`."""
        images_BCHW, labels_B, index_B = batch
        if logits_BK is None:
            logits_BK = self.network(images_BCHW, index_B)
        results.update(logits_BK, labels_B, self.loss(accumulable(logits_BK), labels_B), self._loss_count(labels_B))
        return logits_BK

    def _loss_count(self, labels_B: Tensor) -> Tensor | int:
        """Return the number by which the loss of a batch is a mean: its items, or the sum of their class weights."""
        if isinstance(self.loss, nn.CrossEntropyLoss | nn.NLLLoss) and self.loss.weight is not None:
            return self.loss.weight[labels_B].sum()
        return len(labels_B)

    def on_validation_epoch_end(self) -> None:
        self._log_results(self.valid, prog_bar=True)  # no sync_dist: torchmetrics gathers the ranks

    def on_test_epoch_end(self) -> None:
        self._log_results(self.test)
        super().on_test_epoch_end()  # the accuracy at `sizes`

    def _log_results(self, results: "Results", prog_bar: bool = False) -> None:
        named = {f"{name}{self.name_suffix}": value for name, value in results.compute().items()}
        self.log_dict(named, prog_bar=prog_bar)

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Return logits [B, K] and labels [B]."""
        images_BCHW, labels_B, index_B = batch
        return self.network(images_BCHW, index_B), labels_B


class Results(nn.Module):
    """The mean loss and the metrics of one stage over its data set, on the device until they are computed.

    An image whose logits are NaN counts as wrong; metrics of the probabilities, and the loss, are then NaN.
    """

    def __init__(self, stage: str, metrics: Mapping[str, Metric]) -> None:
        super().__init__()
        self.stage = stage
        # sums, as MeanMetric leaves out NaN, or else forgets the weights
        self.loss, self.count, self.nan_images = (SumMetric(nan_strategy="disable") for _ in range(3))
        # compute_groups would merge for good two metrics that agree on the first batch, such as accuracy and top_5
        self.metrics = MetricCollection(dict(metrics), prefix=f"{stage}_", compute_groups=False).clone()

    def update(self, logits_BK: Tensor, labels_B: Tensor, loss: Tensor, count: Tensor | int | None = None) -> None:
        """Add a batch, whose loss is a mean over `count`: by default, over its items."""
        count = len(labels_B) if count is None else count
        self.loss.update(loss * count)
        self.count.update(count)
        # torchmetrics would take logits for probabilities if all of a batch lie in 0..1; half precision makes ties
        probabilities_BK = logits_BK.float().softmax(1)
        self.nan_images.update(probabilities_BK.isnan().any(1).sum())
        self.metrics.update(wrong_where_nan(probabilities_BK, labels_B), labels_B)

    def compute(self) -> dict[str, Tensor]:
        """Return the results since the last call, and reset them."""
        results = {f"{self.stage}_loss": self.loss.compute() / self.count.compute(), **self.metrics.compute()}
        if self.nan_images.compute() > 0:
            of_scores = [f"{self.stage}_{n}" for n, m in self.metrics.items(keep_base=True) if not counts_classes(m)]
            results |= dict.fromkeys(of_scores, torch.full_like(results[f"{self.stage}_loss"], torch.nan))
        for metric in (self.loss, self.count, self.nan_images, self.metrics):
            metric.reset()
        return results
