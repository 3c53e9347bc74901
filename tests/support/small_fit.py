"""A training of a few tiny batches with the real TaskModule, and the rows that it gives to a logger."""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from tasks import classification
from torch import nn
from torch.utils.data import DataLoader

from model import TaskModule


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor, index: Any = None) -> torch.Tensor:
        return self.layer(images.flatten(1).float() / 255)


class Rows(pl.loggers.logger.DummyLogger):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append({"step": step, **metrics})


class Save(pl.Callback):
    """A checkpoint at the end of the first epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path, weights_only=False)


def batches(sizes: Sequence[int]) -> DataLoader:
    generator = torch.Generator().manual_seed(1)
    images = [torch.randint(256, (n, 1, 2, 2), generator=generator, dtype=torch.uint8) for n in sizes]
    labels = [torch.randint(3, (n,), generator=generator) for n in sizes]
    triples = [(x, y, torch.arange(len(y))) for x, y in zip(images, labels, strict=True)]
    return DataLoader(triples, batch_size=None)  # type: ignore[arg-type]


def classifier(optimizer: Any = torch.optim.SGD, scheduler: Any = None, lr: float = 0.1) -> TaskModule:
    torch.manual_seed(0)
    return TaskModule(Linear(), classification(), lr, partial(optimizer), scheduler)


def fit(
    callbacks: Sequence[pl.Callback],
    sizes: Sequence[int],
    folder: Path,
    model: TaskModule | None = None,
    resume: Path | None = None,
    valid: Sequence[int] = (),
    **settings: Any,
) -> tuple[pl.Trainer, list[dict[str, Any]]]:
    """Train, and return the trainer and the rows of the logging interval."""
    logger = Rows()
    options = {"max_epochs": 1, "log_every_n_steps": 1, "enable_progress_bar": False, **settings}
    options["limit_val_batches"] = len(valid)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=logger,
        callbacks=list(callbacks),
        default_root_dir=folder,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        **options,
    )
    with warnings.catch_warnings():
        for words in ("does not have many workers", "smaller than the logging interval"):
            warnings.filterwarnings("ignore", f".*{words}")
        trainer.fit(model or classifier(), batches(sizes), batches(valid), ckpt_path=resume, weights_only=True)
    return trainer, [row for row in logger.rows if "train_loss_step" in row]
