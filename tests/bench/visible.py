"""A callback that writes which GPUs a job of a sweep sees."""

import json
import os
from pathlib import Path

import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class Visible(Callback):
    """File visible.json of the run folder: `names` as in CUDA_VISIBLE_DEVICES, and torch's `count`."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seen = {"names": os.environ.get("CUDA_VISIBLE_DEVICES"), "count": torch.cuda.device_count()}
        Path(trainer.default_root_dir, "visible.json").write_text(json.dumps(seen))
