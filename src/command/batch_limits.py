"""Checks of settings that need the data: whether there is a validation, and the limits of Lightning's Trainer."""

import math
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from process.errors import UserError

if TYPE_CHECKING:
    from pytorch_lightning import Trainer


def validates(config: DictConfig, data: Any) -> bool:
    return data.has_valid and OmegaConf.select(config, "trainer.limit_val_batches") != 0


def refuse_unvalidated_scheduler(config: DictConfig, data: Any) -> None:
    """Raise a UserError for a scheduler that watches a validation which never takes place."""
    monitor = (config.scheduler or {}).get("monitor")
    if monitor is not None and monitor.startswith("valid_") and not validates(config, data):
        cause = "trainer.limit_val_batches=0 leaves out" if data.has_valid else "data.valid=0 leaves no items for"
        raise UserError(
            f"scheduler=plateau watches {monitor}, but {cause} validation: monitor the training, "
            "hparams.monitor=train_loss hparams.monitor_mode=min"
        )


def refuse_unusable_limits(trainer: "Trainer", data: Any) -> None:
    """Raise a UserError for a ratio of less than one batch, and for a validation interval longer than the epoch."""
    loaders = {"train": data.train_dataloader, "val": data.val_dataloader, "test": data.test_dataloader}
    for stage, loader in loaders.items():
        limit = getattr(trainer, f"limit_{stage}_batches")
        if isinstance(limit, float) and 0 < limit < 1:
            batches = _count(loader(), trainer.world_size)
            if 0 < batches * limit < 1:
                raise UserError(
                    f"trainer.limit_{stage}_batches={limit}: less than one of {batches} batches: choose >= "
                    f"{math.ceil(1000 / batches) / 1000}, or a number of batches"
                )
    interval = getattr(trainer, "val_check_interval", None)  # Lightning sets none if it is a time
    in_epochs = trainer.check_val_every_n_epoch is not None and trainer.limit_val_batches
    if isinstance(interval, int) and interval > 1 and in_epochs and not trainer.fast_dev_run:  # type: ignore[attr-defined]
        batches, limit = _count(data.train_dataloader(), trainer.world_size), trainer.limit_train_batches
        batches = min(batches, int(limit * batches) if isinstance(limit, float) else limit)
        if interval > batches:
            raise UserError(
                f"trainer.val_check_interval={interval}: an epoch has {batches} batches: choose <= {batches}, or count "
                "batches across epochs, +trainer.check_val_every_n_epoch=null"
            )


def _count(loader: Any, world_size: int) -> int:
    """Return the number of batches per rank; before the ranks are connected, a loader has those of all."""
    loaders = loader if isinstance(loader, list) else [loader]
    return math.ceil(sum(len(each) for each in loaders) / world_size)
