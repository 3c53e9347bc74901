"""A callback that ends the process after its first training step, and leaves the time that it took in a file."""

import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import psutil
from pytorch_lightning import Callback


class StopAfterFirstStep(Callback):
    """Write [CPU seconds with those of child processes, seconds by the clock] since the process began."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on_train_batch_end(self, *_: Any) -> None:
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu = sum(each.ru_utime + each.ru_stime for each in usage)
        Path(self.path).write_text(json.dumps([cpu, time.time() - psutil.Process().create_time()]))
        os._exit(0)
