"""Classifier: a network, its loss, its optimizer and its metrics as a LightningModule. It knows no architecture."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from math import nan
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric, Metric, MetricCollection

from set_module.reduce import accumulable
from set_module.set_batch import SetBatch

log = logging.getLogger(__name__)

# B images or bags of images, K classes
Batch = tuple[Tensor | SetBatch, Tensor, Tensor]  # images_BCHW uint8 or bags of images, labels_B, index_B


class Classifier(pl.LightningModule):
    """Train `network(images_BCHW, index_B) -> logits_BK` with a loss, an optimizer and a scheduler given as partials.

    Logs train_loss and train_accuracy (means over the epoch), and valid_* and test_*: the loss and each of `metrics`,
    over the data set. At the logging interval it gives loggers one row: train_loss_step and train_accuracy_step (means
    since the last one) and `step_metrics`, into which callbacks put what they measure while `logs_now`.

    `scheduler` is Lightning's dictionary `{scheduler: partial, interval: step, ...}`; what only the run knows (max_lr,
    total_steps, T_max) is filled in where the scheduler takes it. Raises what the optimizer says to its arguments at
    construction, before data is loaded. `skip_nonfinite` leaves out a batch whose loss is NaN or infinite; looking at
    each step makes a GPU wait for it.
    """

    loss_sum: Tensor
    correct: Tensor

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        metrics: Mapping[str, Metric],
        lr: float,
        optimizer: partial[Optimizer],
        scheduler: Mapping[str, Any] | None = None,
        skip_nonfinite: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.loss, self.lr = network, loss, lr
        self.skip_nonfinite = skip_nonfinite
        self.optimizer, self.scheduler = optimizer, scheduler
        optimizer(self.parameters(), lr=lr)
        self.valid, self.test = Results("valid", metrics), Results("test", metrics)
        # sums, read at the logging interval: a metric object per training step would cost more than a small network
        self.register_buffer("loss_sum", torch.zeros(()), persistent=False)
        self.register_buffer("correct", torch.zeros((), dtype=torch.long), persistent=False)
        self._ddp_params_and_buffers_to_ignore = ["loss_sum", "correct"]  # else DDP gives all ranks those of rank 0
        self.count = 0
        self.epoch_sums = [0.0, 0, 0]  # loss, correct, count of what was logged since the epoch began
        self.step_metrics: dict[str, float | Tensor] = {}
        self.logged_batch = -1

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":  # Lightning sets it 40 times a step, nn.Module takes microseconds to set it
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Classifier":
        """Under `trainer.precision=bf16-true` only the network becomes bf16: sums in bf16 stop growing at 256."""

        def moved(x: Tensor) -> Tensor:
            converted = fn(x)
            return x.to(converted.device) if converted.dtype in (torch.bfloat16, torch.float16) else converted

        for module in self.children() if recurse else ():
            module._apply(fn if module is self.network else moved)
        return super()._apply(moved, recurse=False)

    def forward(self, images_BCHW: Tensor | SetBatch, index_B: Tensor | None = None) -> Tensor:
        return self.network(images_BCHW, index_B)

    def on_train_start(self) -> None:
        self.on_train_epoch_start()  # Lightning leaves it out where a run is resumed in the middle of an epoch

    def on_train_epoch_start(self) -> None:
        for module in self.network.modules():
            set_epoch = getattr(module, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(self.current_epoch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        images_BCHW, labels_B, index_B = batch
        logits_BK = self.network(images_BCHW, index_B)
        loss = self.loss(accumulable(logits_BK), labels_B)
        if self.skip_nonfinite and not torch.isfinite(loss):
            step = self.trainer.fit_loop.total_batch_idx
            log.warning(f"step {step}: the loss of images {index_B.tolist()} is {loss.item()}; left out")
            return None
        self.loss_sum.add_(loss.detach(), alpha=len(labels_B))
        self.correct.add_((logits_BK.argmax(1) == labels_B).sum())
        self.count += len(labels_B)
        return loss

    @property
    def logs_now(self) -> bool:
        """Whether loggers are given a row at the end of this training batch."""
        interval = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return bool(interval) and (self.trainer.fit_loop.total_batch_idx + 1) % interval == 0

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.log_step()

    def log_step(self) -> None:
        """Give loggers the row of this batch, if it has one and was not given.

        At the batch's end, after the callbacks; a callback that writes a checkpoint there calls it before.
        """
        if not self.logs_now or self.logged_batch == self.trainer.fit_loop.total_batch_idx:
            return
        self.logged_batch = self.trainer.fit_loop.total_batch_idx
        loss, correct, count = self._over_ranks(self._flush_sums())
        means = {"train_loss_step": loss / count, "train_accuracy_step": correct / count} if count else {}
        self.log_dict(means, prog_bar=True, logger=False)
        measured = {n: v.item() if isinstance(v, Tensor) else v for n, v in self.step_metrics.items()}
        self.step_metrics.clear()
        row = {"epoch": self.current_epoch, **means, **measured}
        step = self.trainer.fit_loop.epoch_loop._batches_that_stepped  # the axis of all that Lightning logs
        for logger in self.loggers:  # self.log would decide by itself which steps to pass on
            logger.log_metrics(row, step=step)

    def _over_ranks(self, sums: Sequence[float]) -> list[float]:
        if self.trainer.world_size == 1:
            return list(sums)
        sums_3 = torch.tensor(sums, dtype=torch.float64, device=self.device)
        return self.trainer.strategy.reduce(sums_3, reduce_op="sum").tolist()

    def _flush_sums(self) -> tuple[float, int, int]:
        sums = float(self.loss_sum), int(self.correct), self.count
        self.epoch_sums = [total + new for total, new in zip(self.epoch_sums, sums, strict=True)]
        self.loss_sum.zero_()
        self.correct.zero_()
        self.count = 0
        return sums

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        sums = [float(self.loss_sum), int(self.correct), self.count, *self.epoch_sums]
        row = torch.tensor(sums, dtype=torch.float64)
        if self.trainer.world_size > 1:
            gathered: Any = self.all_gather(row.to(self.device))
            row = gathered.cpu()
        checkpoint["classifier"] = {"lr": self.lr, "sums": row.view(-1, len(sums))}  # a row per rank

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state, rank, ranks = checkpoint["classifier"], self.trainer.global_rank, self.trainer.world_size
        # of another number of ranks than now, the first takes all
        rows = state["sums"] if len(state["sums"]) == ranks else state["sums"].sum(0) * torch.eye(ranks, 1)
        loss_sum, correct, count, epoch_loss, epoch_correct, epoch_count = rows[rank].tolist()
        self.loss_sum.fill_(loss_sum)
        self.correct.fill_(int(correct))
        self.count, self.epoch_sums = int(count), [epoch_loss, int(epoch_correct), int(epoch_count)]
        self.lr = self.lr or state["lr"]  # 0 asked for a search, which is done

    def on_train_epoch_end(self) -> None:
        self._flush_sums()
        loss, correct, count = self._over_ranks(self.epoch_sums)
        self.epoch_sums = [0.0, 0, 0]
        count = count or nan  # every batch was left out
        self.log_dict({"train_loss": loss / count, "train_accuracy": correct / count})

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._measure(batch, self.valid)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._measure(batch, self.test)

    def _measure(self, batch: Batch, results: "Results") -> Tensor:
        """The logits [B, K], which callbacks get as `outputs`."""
        images_BCHW, labels_B, index_B = batch
        logits_BK = self.network(images_BCHW, index_B)
        results.update(logits_BK, labels_B, self.loss(accumulable(logits_BK), labels_B))
        return logits_BK

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.valid.compute(), prog_bar=True)  # no sync_dist: torchmetrics gathers the ranks

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.test.compute())

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Logits [B, K] and labels [B]."""
        images_BCHW, labels_B, index_B = batch
        return self.network(images_BCHW, index_B), labels_B

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.parameters(), lr=self.lr, **self._fused())
        if not self.scheduler:
            return optimizer
        build = self.scheduler["scheduler"]
        total_steps = int(self.trainer.estimated_stepping_batches)
        known = {"max_lr": self.lr, "total_steps": total_steps, "T_max": total_steps}
        takes = signature(build.func).parameters
        missing = {name: known[name] for name in known if name in takes and name not in build.keywords}
        return {
            "optimizer": optimizer,
            "lr_scheduler": {**self.scheduler, "scheduler": build(optimizer, **missing)},
        }

    def _fused(self) -> dict[str, bool]:
        """`fused=True` where the optimizer has it: one kernel instead of ten small ones a parameter.

        Not together with mixed precision and gradient clipping, which Lightning refuses for fused optimizers.
        """
        clips_mixed = self.trainer.gradient_clip_val and "mixed" in str(self.trainer.precision)
        has_fused = "fused" in signature(self.optimizer.func).parameters and "fused" not in self.optimizer.keywords
        return {"fused": True} if has_fused and not clips_mixed and self.device.type in ("cpu", "cuda") else {}


class Results(nn.Module):
    """The mean loss and the metrics of one stage over its data set, on the device until they are computed."""

    def __init__(self, stage: str, metrics: Mapping[str, Metric]) -> None:
        super().__init__()
        self.stage = stage
        self.loss = MeanMetric()
        # no groups: two metrics that agree on the first batch (accuracy, top_5) would share one result from then on
        self.metrics = MetricCollection(dict(metrics), prefix=f"{stage}_", compute_groups=False).clone()

    def update(self, logits_BK: Tensor, labels_B: Tensor, loss: Tensor) -> None:
        self.loss.update(loss, weight=len(labels_B))
        # probabilities: torchmetrics takes a batch of logits that all happen to lie in 0..1 for such; in fp32, as half
        # precision makes ties
        self.metrics.update(logits_BK.float().softmax(1), labels_B)

    def compute(self) -> dict[str, Tensor]:
        """What was measured since the last call."""
        results = {f"{self.stage}_loss": self.loss.compute(), **self.metrics.compute()}
        self.loss.reset()
        self.metrics.reset()
        return results
