"""Lightning's Trainer for a network that is trained already: on one device, without checkpoints, with the run's bar."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from command import cli


def build_trainer(config: DictConfig, callbacks: Sequence[Any] = (), loggers: Sequence[Any] = ()) -> Any:
    """That of the config, which may be for several devices: each would see a share of the images only."""
    bar = OmegaConf.select(config, "callbacks.progress_bar")
    bars = [] if bar is None else [cli.build(bar)]
    one = {"num_nodes": 1, "strategy": "auto", "enable_checkpointing": False, "fast_dev_run": False}
    logging = {"logger": list(loggers) or False, "enable_progress_bar": bool(bars)}
    return cli.build(config.trainer, devices=_one_of(config.trainer), **one, **logging, callbacks=[*bars, *callbacks])


def _one_of(trainer: DictConfig) -> int | list[int]:
    """The first of the devices listed; any one where that is no GPU of this machine: a run may come from another."""
    import torch

    listed = trainer.get("devices")
    if not isinstance(listed, ListConfig) or not listed or trainer.get("accelerator") == "cpu":
        return 1
    return [listed[0]] if listed[0] in range(torch.cuda.device_count()) else 1
