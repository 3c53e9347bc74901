"""Callbacks that log how a training runs: learning rate, gradient norm, images per second, processor and memory."""

import importlib.util
import time
from contextlib import suppress
from typing import Any

import psutil
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from adapter import lightning
from callback.progress import Pace, count_items

GIB = 2**30
INTERVAL = 5.0  # seconds: measuring processor and memory takes milliseconds


class LearningRate(Callback):
    """Logs `lr`, the learning rate of the logged step, or `lr/<name or number>` for several parameter groups."""

    needs = ("step_metrics",)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not pl_module.logs_now:
            return
        metrics: Any = pl_module.step_metrics
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        for number, group in enumerate(groups):
            name = "lr" if len(groups) == 1 else f"lr/{group.get('name', number)}"
            metrics[name] = float(group["lr"])


class GradientNorm(Callback):
    """Logs `grad_norm`, the 2-norm of all gradients together before clipping, at the last optimizer step before a row.

    Shows whether training is about to diverge, and at which norm to clip. The value stays on the device until the row
    is written, so that no GPU waits.
    """

    needs = ("step_metrics",)

    def __init__(self) -> None:
        self.norm: Tensor | float | None = None

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        interval = trainer.log_every_n_steps  # type: ignore[attr-defined]
        before = trainer.fit_loop.total_batch_idx
        # with accumulated gradients, the row of a batch without a step shows the norm of the step before it
        if not interval or (before + trainer.accumulate_grad_batches) // interval == before // interval:
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.norm = get_total_norm(gradients) / lightning.loss_scale(trainer, optimizer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        metrics: Any = pl_module.step_metrics
        if self.norm is not None and pl_module.logs_now:
            metrics["grad_norm"] = self.norm
            self.norm = None

    def state_dict(self) -> dict[str, float]:
        return {} if self.norm is None else {"norm": float(self.norm)}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.norm = state_dict["norm"]


class Throughput(Callback):
    """Logs `examples`, the images (or bags) of all ranks since the training began, before a resume included.

    Logs also `system/images_per_second` since the last row, without the time of validation. Logs neither if batches
    have no length.
    """

    needs = ("step_metrics",)
    KEY = "examples"  # in rows and checkpoints

    def __init__(self) -> None:
        self.before = 0  # images of all ranks until the last row or checkpoint
        self.count = 0  # images of this rank since the last row or checkpoint
        self.pace: Pace | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.pace = Pace(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.pace is not None:
            self.pace.pause()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.pace is not None:
            self.pace.resume()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.count += count_items(batch)
        if not pl_module.logs_now:
            return
        assert self.pace is not None
        metrics: Any = pl_module.step_metrics
        if examples := self._sum(trainer):
            metrics[self.KEY] = examples
            metrics["system/images_per_second"] = self.pace.images_per_second
        self.pace.lap()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[self.KEY] = self._sum(trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.before, self.count = checkpoint.get(self.KEY, 0), 0  # 0 if the checkpoint was written without it

    def _sum(self, trainer: Trainer) -> int:
        count = self.count
        if trainer.world_size > 1:
            mine = torch.tensor(count, device=trainer.strategy.root_device)
            count = int(trainer.strategy.reduce(mine, reduce_op="sum"))
        self.before += count
        self.count = 0
        if self.pace is not None:
            self.pace.images += count
        return self.before


class SystemMetrics(Callback):
    """Logs `system/cpu_percent` (100: one core) and `system/memory_GiB` of this process and its workers.

    Logs also `system/gpu_memory_GiB`, reserved by torch, and `system/gpu_percent`, the share of time in which the GPU
    was busy (needs the package nvidia-ml-py, and a GPU whose load the driver knows: no slice of one). Shows whether the
    processor is busy, memory is leaking, or the GPU waits for data. Logs with a row, at most every 5 s.
    """

    needs = ("step_metrics",)

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.pynvml = importlib.util.find_spec("pynvml") is not None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.asked, self.cpu_seconds = time.monotonic(), cpu_seconds(self._processes())

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if not pl_module.logs_now or time.monotonic() - self.asked < INTERVAL:
            return
        metrics: Any = pl_module.step_metrics
        processes = self._processes()
        metrics["system/cpu_percent"] = self._cpu_percent(processes)
        metrics["system/memory_GiB"] = memory(processes) / GIB
        device = trainer.strategy.root_device
        if device.type == "cuda":
            metrics["system/gpu_memory_GiB"] = torch.cuda.memory_reserved(device) / GIB
            if self.pynvml:
                try:
                    metrics["system/gpu_percent"] = float(torch.cuda.utilization(device))
                except Exception:  # each driver has its own: it knows no load of a slice (MIG)
                    self.pynvml = False

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def _cpu_percent(self, processes: list[psutil.Process]) -> float:
        """Return the percentage since the last call; a worker that started since then counts with its whole time."""
        before, since = self.cpu_seconds, self.asked
        self.asked, self.cpu_seconds = time.monotonic(), cpu_seconds(processes)
        spent = sum(seconds - before.get(pid, 0.0) for pid, seconds in self.cpu_seconds.items())
        return 100 * spent / (self.asked - since)


def cpu_seconds(processes: list[psutil.Process]) -> dict[int, float]:
    """Return the processor time of each process by its id, without processes that have just ended."""
    found = {}
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid] = times.user + times.system
    return found


def memory(processes: list[psutil.Process]) -> int:
    """Return the bytes of all processes; shared libraries and tensors count for the first process only.

    Memory that a fork still shares with its parent counts twice: measuring it exactly (PSS) would stop each process
    for 35 ms or more.
    """
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            info = process.memory_info()
            total += info.rss - (getattr(info, "shared", 0) if process is not processes[0] else 0)
    return total
