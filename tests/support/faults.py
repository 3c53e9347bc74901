"""Faults that a config can name: `+callbacks.fault._target_=faults.Kill +callbacks.fault.batch=7`."""

import multiprocessing
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from datamodule.digits import Digits


class Fault(Callback):
    """A fault at the start of a batch of training, validation or test, counted from 0 in this process."""

    def __init__(self, batch: int, during: str = "train") -> None:
        self.batch, self.during, self.seen = batch, during, 0

    def on_train_batch_start(self, *_: Any) -> None:
        self._count("train")

    def on_validation_batch_start(self, *_: Any) -> None:
        self._count("validation")

    def on_test_batch_start(self, *_: Any) -> None:
        self._count("test")

    def on_predict_batch_start(self, *_: Any) -> None:
        self._count("predict")

    def _count(self, during: str) -> None:
        if during == self.during:
            if self.seen == self.batch:
                self.happen()
            self.seen += 1

    def happen(self) -> None:
        raise NotImplementedError


class Crash(Fault):
    """An exception: the files are as a SIGKILL would leave them, but this process goes on."""

    def happen(self) -> None:
        raise RuntimeError("crashed on purpose")


class Signal(Fault):
    """A signal to this process."""

    def __init__(self, name: str, batch: int, during: str = "train") -> None:
        super().__init__(batch, during)
        self.name = name

    def happen(self) -> None:
        os.kill(os.getpid(), signal.Signals[self.name])


class KillWorker(Fault):
    """SIGKILL to a DataLoader worker, as Linux sends it to a process when memory runs out."""

    def happen(self) -> None:
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        time.sleep(5)  # torch's handler of SIGCHLD ends it at once; without one, the next batch of the worker is missed


class SignalToAll(KillWorker):
    """SIGTERM to the process group of a training: the workers end before the training sees the signal."""

    def happen(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        super().happen()


class KillServer(Fault):
    """SIGKILL to the process group of a server that a test has started."""

    def __init__(self, pid: int, batch: int, during: str = "train") -> None:
        super().__init__(batch, during)
        self.pid = pid

    def happen(self) -> None:
        os.killpg(self.pid, signal.SIGKILL)


class Hang(Fault):
    """A batch that takes a minute; `hanging` on the terminal says that it began."""

    def happen(self) -> None:
        print("hanging", flush=True)
        time.sleep(60)


class FillDisk(Fault):
    """A file that takes all the space left in a folder, by default the working directory."""

    def __init__(self, batch: int, during: str = "train", folder: str = ".") -> None:
        super().__init__(batch, during)
        self.folder = folder

    def happen(self) -> None:
        with Path(self.folder, "filler").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))


class DeleteRun(Fault):
    """The deletion of all run folders."""

    def happen(self) -> None:
        shutil.rmtree("outputs")


class NotANumber(Fault):
    """NaN in the weights from which the logits come, for one batch."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        *_, last = (parameter for parameter in pl_module.parameters() if parameter.dim() == 1)
        if self.seen == self.batch:
            self.kept = last.detach().clone()
            with torch.no_grad():
                last.fill_(float("nan"))
        self.seen += 1

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self.seen == self.batch + 1:
            *_, last = (parameter for parameter in pl_module.parameters() if parameter.dim() == 1)
            with torch.no_grad():
                last.copy_(self.kept)


class NaNLogits(Fault):
    """NaN in all logits of a validation or test, counted from 0 by `batch`."""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._begin("validation", pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin("test", pl_module)

    def _begin(self, during: str, module: LightningModule) -> None:
        if during == self.during:
            if self.seen == self.batch:
                self.hook = module.network.register_forward_hook(lambda network, args, out: out * float("nan"))
            self.seen += 1

    def on_validation_batch_start(self, *_: Any) -> None:
        pass

    on_test_batch_start = on_validation_batch_start

    def on_validation_end(self, *_: Any) -> None:
        if hasattr(self, "hook"):
            self.hook.remove()

    on_test_end = on_validation_end


class Quiet(Callback):
    """A callback in place of the progress bar."""

    def __init__(self, verbosity: int) -> None:
        pass


class InterruptedDigits(Digits):
    """A data set whose preparation, which may be a download, is interrupted by SIGTERM."""

    def prepare_data(self) -> None:
        signal.raise_signal(signal.SIGTERM)
