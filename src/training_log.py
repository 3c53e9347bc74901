"""The base class of LightningModules, on which callbacks, loggers and checkpoints rely."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from inspect import signature
from math import inf, nan
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from adapter import lightning
from process.errors import UserError
from process.ranks import gather_from_ranks

log = logging.getLogger(__name__)

Sums = dict[str, tuple[float, int]]  # name -> (sum, number of items)


Needs = Iterable[str | tuple[str, ...]]
# The attributes by which a module declares what its test_step returns: logits of classes [B, K], values [B, ...], or
# logits of independent labels [B, K]
ANSWERS = ("test_logits", "test_values", "test_labels")


def missing(module: pl.LightningModule, needs: Needs) -> list[str]:
    """Return which attributes in `needs` a LightningModule lacks; a callback class lists those it uses as `needs`.

    Callbacks need `step_metrics` (the rows of a TrainingLog), `lr`, `network`, or one of ANSWERS. One of the
    names in a tuple is enough; all of them are returned if there is none.
    """
    groups = [(need,) if isinstance(need, str) else need for need in needs]
    return [name for group in groups if not any(hasattr(module, each) for each in group) for name in group]


def usable(module: pl.LightningModule, callbacks: Mapping[str, pl.Callback]) -> list[pl.Callback]:
    """Return the callbacks, given by name, that need no attribute which the module lacks.

    Logs which ones are left out, and why; but nothing of figures that belong to other tasks than the module's.
    """
    lacking = {name: missing(module, getattr(each, "needs", ())) for name, each in callbacks.items()}
    answers = hasattr(module, "task") or any(hasattr(module, name) for name in ANSWERS)
    of_answers = [name for name, names in lacking.items() if set(names) & set(ANSWERS)]
    for name, names in lacking.items():
        if names and name not in of_answers:
            log.info(f"callbacks.{name} is left out: {type(module).__name__} has no {', '.join(names)}")
    if of_answers and not answers:
        are = "is" if len(of_answers) == 1 else "are"
        chosen, kind = ", ".join(of_answers), type(module).__name__
        log.info(f"callbacks: {chosen} {are} left out: {kind} has no {', '.join(ANSWERS[:-1])} or {ANSWERS[-1]}")
    return [callback for name, callback in callbacks.items() if not lacking[name]]


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters, without those of lazy layers that have seen no batch yet."""
    return sum(parameter.numel() for parameter in module.parameters() if not is_lazy(parameter))


def describe_items(trainer: pl.Trainer, index_B: Tensor) -> str:
    """Return the first items of a training batch, by their positions in the data set: `items 812, 3, 77, ...`.

    With data.balanced, index_B is greater by the size of the data set for each repetition of an item.
    """
    own_index: Any = getattr(getattr(trainer, "datamodule", None), "own_index", None)
    first = (index_B if own_index is None else own_index(index_B))[:8].tolist()
    return "items " + ", ".join(map(str, first)) + (", ..." if len(index_B) > 8 else "")


class TrainingLog(pl.LightningModule):
    """LightningModule that logs the means of values given to `add_step`; checkpoints within an epoch keep its sums.

    Logs train_NAME, valid_NAME and test_NAME, means over an epoch and over all ranks. At the logging interval it gives
    loggers one row: train_NAME_step (means since the last row) and `step_metrics`, to which callbacks add their values
    while `logs_now`. A subclass that overrides a hook of this class calls `super()` in it.

    The optimizer is built from a partial. `scheduler` is Lightning's dictionary `{scheduler: partial, interval: step,
    ...}`; max_lr, total_steps, T_max and cycle_momentum are filled in if the scheduler takes them. With `embed_lr`, the
    parameters of `network.embed` are a parameter group of their own, and `parameter_groups` raises UserError for a
    network without them. Ignores the other arguments that config.yaml gives every model (task, sizes, ...).

    Args:
        embed_lr: learning rate of the embedding, a number, or a text such as `0.1x`, 0.1 times `lr`; None: `lr`.
    """

    def __init__(
        self,
        lr: float,
        optimizer: partial[Optimizer],
        scheduler: Mapping[str, Any] | None = None,
        embed_lr: float | str | None = None,
        **_: Any,
    ) -> None:
        super().__init__()
        self.lr, self.optimizer, self.scheduler, self.embed_lr = lr, optimizer, scheduler, embed_lr
        self.step_metrics: dict[str, float | Tensor] = {}
        # stage -> name -> [sum on the device, number of items], read at the logging interval: a metric object per
        # training step would cost more than a small network. Not buffers: DDP copies those of rank 0 to all ranks
        self.sums: dict[str, dict[str, list[Any]]] = {"train": {}, "valid": {}, "test": {}}
        self.epoch_sums: Sums = {}  # of the rows of this epoch
        self.logged_batch = -1

    def __setattr__(self, name: str, value: Any) -> None:
        if name == lightning.HOOK_NAME:  # Lightning sets it 40 times a step, for which nn.Module is slow
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def add_step(self, count: int, stage: str = "train", **values: Tensor) -> None:
        """Add values that a step has measured on `count` items. Never waits for the device.

        Args:
            count: number of items (images, bags, patches) of the step. If it is 0, the values must be 0. If all counts
                of an epoch are 0, its means are NaN.
            stage: train, valid or test.
            values: scalars by name. A floating-point value is a mean over the items, an integer a total over them:
                `loss=loss, accuracy=(predicted_B == labels_B).sum()`.
        """
        if stage not in self.sums:
            raise ValueError(f"add_step: stage={stage}: choose {', '.join(self.sums)}")
        sums = self.sums[stage]
        for name, scalar in values.items():
            value = scalar.detach()
            weight = count if value.is_floating_point() else 1
            if name in sums:
                total = sums[name]
                total[0].add_(value, alpha=weight)
                total[1] += count
            else:  # at least fp32: sums in bf16 stop growing at 256
                least = torch.float32 if value.is_floating_point() else torch.int64
                sums[name] = [value.to(torch.promote_types(value.dtype, least)) * weight, count]

    @property
    def logs_now(self) -> bool:
        """True if loggers are given a row at the end of this training batch."""
        interval = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return bool(interval) and (self.trainer.fit_loop.total_batch_idx + 1) % interval == 0

    def log_step(self) -> None:
        """Log the row of this batch, if `logs_now` and it is not logged yet.

        Called at the batch's end, after the callbacks; a callback that writes a checkpoint there calls it first.
        """
        if not self.logs_now or self.logged_batch == self.trainer.fit_loop.total_batch_idx:
            return
        self.logged_batch = self.trainer.fit_loop.total_batch_idx
        sums = self._over_ranks(self._flush())
        means = {f"train_{name}_step": total / count for name, (total, count) in sums.items() if count}
        self.log_dict(means, prog_bar=True, logger=False)
        measured = {n: v.item() if isinstance(v, Tensor) else v for n, v in self.step_metrics.items()}
        self.step_metrics.clear()
        row = {"epoch": self.current_epoch, **means, **measured}
        for logger in self.loggers:  # self.log has an interval of its own
            logger.log_metrics(row, step=lightning.logged_step(self.trainer))

    def on_train_start(self) -> None:
        self.on_train_epoch_start()  # Lightning does not call it if a run is resumed within an epoch

    def on_train_epoch_start(self) -> None:
        for module in self.modules():
            set_epoch = getattr(module, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(self.current_epoch)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.log_step()

    def on_train_epoch_end(self) -> None:
        self._flush()
        self.log_dict(means("train", self._over_ranks(self.epoch_sums)))
        self.epoch_sums = dict.fromkeys(self.epoch_sums, (0.0, 0))

    def on_validation_epoch_end(self) -> None:
        self.log_dict(means("valid", self._over_ranks(self._read("valid"))), prog_bar=True)

    def on_test_epoch_end(self) -> None:
        self.log_dict(means("test", self._over_ranks(self._read("test"))))

    def _read(self, stage: str) -> Sums:
        """Return the sums of a stage and reset them."""
        sums = {name: (total.item(), count) for name, (total, count) in self.sums[stage].items()}
        self.sums[stage].clear()
        return sums

    def _flush(self) -> Sums:
        """Return the sums since the last row, and add them to those of the epoch."""
        sums = self._read("train")
        self.epoch_sums = added_up([self.epoch_sums, sums])
        return sums

    def _over_ranks(self, sums: Sums) -> Sums:
        return added_up(gather_from_ranks(sums, self.trainer.world_size))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        step = {name: (total.to("cpu", copy=True), count) for name, (total, count) in self.sums["train"].items()}
        rows = gather_from_ranks({"step": step, "epoch": self.epoch_sums}, self.trainer.world_size)
        checkpoint["training_log"] = {"lr": self.lr, "sums": rows}  # a row per rank

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "training_log" not in checkpoint:  # of an older version, or of a plain LightningModule
            raise UserError(
                f"{self.trainer.ckpt_path} has no training_log, with which a run is resumed: start a new run from its "
                f"weights, init_from={self.trainer.ckpt_path}"
            )
        state, rank, ranks = checkpoint["training_log"], self.trainer.global_rank, self.trainer.world_size
        rows = state["sums"]
        if len(rows) != ranks:  # rank 0 gets the sums of all saved ranks
            rows = [{kind: added_up([row[kind] for row in rows]) for kind in ("step", "epoch")}] + [None] * (ranks - 1)
        mine, device = rows[rank] or {"step": {}, "epoch": {}}, self.trainer.strategy.root_device
        self.sums["train"] = {name: [total.to(device), count] for name, (total, count) in mine["step"].items()}
        self.epoch_sums = mine["epoch"]
        self.lr = self.lr or state["lr"]  # 0: the learning rate that the finder has found

    def rates(self, lr: float) -> list[float]:
        """Return the learning rate of each parameter group where `lr` is that of the first one."""
        if self.embed_lr is None:
            return [lr]
        if isinstance(self.embed_lr, str):
            return [lr, float(self.embed_lr.removesuffix("x")) * lr]
        return [lr, self.embed_lr]

    def parameter_groups(self) -> Iterable[nn.Parameter] | list[dict[str, Any]]:
        """Return what the optimizer is built with: all parameters, or the groups `rest` and `embed` of `embed_lr`."""
        if self.embed_lr is None:
            return self.parameters()
        setting, network = f"hparams.embed_lr={self.embed_lr}", getattr(self, "network", None)
        embedding = getattr(network, "embed", None)
        if not isinstance(embedding, nn.Module):
            kind = type(self if network is None else network).__name__
            raise UserError(
                f"{setting}: {kind} has no embedding with a rate of its own: set hparams.embed_lr=null, or choose a "
                "network of sets, such as model=patch_set"
            )
        own = list(embedding.parameters())
        if not any(parameter.requires_grad for parameter in own):
            remedy = "train it, model.network.embed.frozen=false, or " if own else ""
            state = "is frozen" if own else "has no weights"
            raise UserError(f"{setting}: the embedding {state}: {remedy}set hparams.embed_lr=null")
        known = set(map(id, own))
        rest = [parameter for parameter in self.parameters() if id(parameter) not in known]
        if not rest:
            raise UserError(f"{setting}: the network is its embedding alone: set hparams.lr, and hparams.embed_lr=null")
        # a plateau scheduler sets no initial_lr, from which a resumed run knows its reductions
        return [
            {"params": parameters, "lr": lr, "initial_lr": lr, "name": name}
            for name, parameters, lr in zip(("rest", "embed"), (rest, own), self.rates(self.lr), strict=True)
        ]

    def configure_optimizers(self) -> Any:
        try:
            optimizer = self.optimizer(self.parameter_groups(), lr=self.lr, **self._fused())
        except (TypeError, ValueError) as error:
            raise UserError(f"hparams.optimizer: {error}") from error
        if not self.scheduler:
            return optimizer
        build = self.scheduler["scheduler"]
        total_steps = max(1, self.trainer.estimated_stepping_batches)  # 0: trainer.limit_train_batches=0
        # only Adam's beta1 is cycled: OneCycleLR would replace SGD's momentum and refuse optimizers without one
        cycles = "betas" in optimizer.defaults
        rates = self.rates(self.lr)
        max_lr = rates if len(rates) > 1 else self.lr
        known = {"max_lr": max_lr, "total_steps": total_steps, "T_max": total_steps, "cycle_momentum": cycles}
        accepted = signature(build.func).parameters.keys() - build.keywords.keys()
        filled_in = {name: value for name, value in known.items() if name in accepted}
        if inf in filled_in.values():
            raise UserError(
                "scheduler: this one spreads over all steps, whose number is unlimited: set trainer.max_epochs or "
                "+trainer.max_steps, or choose scheduler=none"
            )
        schedule = {**self.scheduler, "scheduler": build(optimizer, **filled_in)}
        if not schedule.get("monitor", "train_").startswith("train_"):  # one step for each validation
            schedule.setdefault("frequency", self.trainer.check_val_every_n_epoch)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def _fused(self) -> dict[str, bool]:
        """Return `fused=True` where the optimizer has it: one kernel instead of ten small ones a parameter.

        Return {} for mixed precision with gradient clipping, which Lightning refuses for fused optimizers, and for lazy
        parameters, whose dtype is not known yet.
        """
        clips_mixed = self.trainer.gradient_clip_val and "mixed" in str(self.trainer.precision)
        lazy = any(is_lazy(parameter) for parameter in self.parameters())
        has_fused = "fused" in signature(self.optimizer.func).parameters and "fused" not in self.optimizer.keywords
        allowed = has_fused and not clips_mixed and not lazy and self.device.type in ("cpu", "cuda")
        return {"fused": True} if allowed else {}


def measured(trainer: pl.Trainer) -> dict[str, float]:
    """Return the latest value of each metric, without those of single steps."""
    return {name: float(value) for name, value in trainer.callback_metrics.items() if not name.endswith("_step")}


def added_up(rows: Sequence[Sums]) -> Sums:
    """Return the total of several sums, name by name."""
    result: Sums = {}
    for row in rows:
        for name, (total, count) in row.items():
            before = result.get(name, (0, 0))
            result[name] = before[0] + total, before[1] + count
    return result


def means(stage: str, sums: Sums) -> dict[str, float]:
    """Return {STAGE_NAME: mean}; a mean of no items is NaN."""
    return {f"{stage}_{name}": total / (count or nan) for name, (total, count) in sums.items()}
