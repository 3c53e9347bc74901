"""Counts of the objects in a process, a line of JSON per training: `+callbacks.census._target_=census.Census`."""

import gc
import json
import os
import threading
from pathlib import Path

import psutil
import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class Census(Callback):
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        objects = [type(held) for held in gc.get_objects()]
        found = {
            "models": sum(issubclass(kind, LightningModule) for kind in objects),
            "trainers": sum(issubclass(kind, Trainer) for kind in objects),
            "threads": threading.active_count(),
            "children": len(psutil.Process().children(recursive=True)),
            "files": psutil.Process().num_fds(),
            "memory": psutil.Process().memory_info().rss,
            "environment": sorted(os.environ),
            "random": int(torch.initial_seed()),
        }
        with Path("census.jsonl").open("a") as file:
            file.write(json.dumps(found) + "\n")
