"""What a training takes of the machine: is the processor busy, is memory leaking, does the GPU wait for data."""

import importlib.util
import time
from contextlib import suppress
from typing import Any

import psutil
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

GIB = 2**30
INTERVAL = 5.0  # seconds: to ask takes milliseconds


class SystemMetrics(Callback):
    """`system/cpu_percent` (100: one core) and `system/memory_GiB` of this process and its workers, and of its GPU
    `system/gpu_memory_GiB` (all that torch holds there) and `system/gpu_percent` (time in which it computed anything).

    With a row, at most every 5 s. gpu_percent takes the package nvidia-ml-py.
    """

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.pynvml = importlib.util.find_spec("pynvml") is not None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.asked, self.cpu_seconds = time.monotonic(), cpu_seconds(self._processes())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
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
                metrics["system/gpu_percent"] = float(torch.cuda.utilization(device))

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def _cpu_percent(self, processes: list[psutil.Process]) -> float:
        """Since the last call; of a worker that has come since then, all its time."""
        before, since = self.cpu_seconds, self.asked
        self.asked, self.cpu_seconds = time.monotonic(), cpu_seconds(processes)
        spent = sum(seconds - before.get(pid, 0.0) for pid, seconds in self.cpu_seconds.items())
        return 100 * spent / (self.asked - since)


def cpu_seconds(processes: list[psutil.Process]) -> dict[int, float]:
    """Of each by its id, less those that have just ended."""
    found = {}
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid] = times.user + times.system
    return found


def memory(processes: list[psutil.Process]) -> int:
    """Bytes of the first, and of the others without shared libraries and tensors.

    What a fork still shares with its parent counts twice: to tell (PSS) would stop each process for 35 ms and more.
    """
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            info = process.memory_info()
            total += info.rss - (getattr(info, "shared", 0) if process is not processes[0] else 0)
    return total
