"""A run as the page opens it: its network with the best weights, its test images, the names of their classes."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from command.trained_run import open_run, open_test_data
from process.errors import UserError
from run.checkpoint import find_checkpoint
from run.data_file import read_yaml
from set_module.set_network import (
    draws_patches,
    looks_in_order,
    patch_num_limit,
    patch_num_range,
    sees_patches,
)


@dataclass(frozen=True)
class OpenedRun:
    """An opened run: `network` is in evaluation mode on the CPU, `source` holds the test items and their targets.

    `task` is what was asked of the network; None for a module that has no task and is taken for a classifier.
    """

    folder: Path
    data_key: str  # the same for runs on the same test images
    network: Any
    source: Any
    class_names: list[str]
    task: Any = None

    @property
    def classifies(self) -> bool:
        """True if the network names one class of each item."""
        return self.task is None or self.task.class_logits

    @property
    def has_vectors(self) -> bool:
        """True if the items of the data are sets of vectors."""
        return self.has_bags and self.source.inputs(torch.tensor([0])).values.ndim == 2

    @property
    def cuts_patches(self) -> bool:
        """True if the network sees patches that it cuts out of an image."""
        return sees_patches(self.network)

    @property
    def looks_in_order(self) -> bool:
        """True if the network has learned which patch to look at first, second, ..."""
        return self.cuts_patches and looks_in_order(self.network)

    @property
    def has_bags(self) -> bool:
        """True if the items of the data are bags: sets already."""
        return hasattr(self.source, "lengths")

    @property
    def has_free_patch_num(self) -> bool:
        """True if any number of patches may be drawn."""
        return draws_patches(self.network)

    @property
    def patch_size(self) -> int:
        return self.network.cutout.size

    @property
    def largest_patch_num(self) -> int | None:
        """The number of patches in the test; None if the number is not free."""
        return patch_num_range(self.network)[1] if self.has_free_patch_num else None

    @property
    def patch_num_limit(self) -> int | None:
        """The number of places if no patch is drawn twice, else None."""
        return patch_num_limit(self.network)

    @property
    def offered_patch_num(self) -> int:
        """The largest number of patches that the page offers: of learned places twice as many as in training."""
        limit, twice = self.patch_num_limit, 2 * self.network.cutout.train_count[1]
        return min(limit or twice, twice) if self.looks_in_order else limit or max(128, twice)


def read_config(folder: Path) -> DictConfig:
    """Return the composed config of the run with its interpolations, so that $DATASET is that of this machine.

    None of them is resolved here, since that may run code.
    """
    path = folder / ".hydra" / "config.yaml"
    try:
        config = OmegaConf.create(read_yaml(path))
        texts: Any = OmegaConf.to_container(config, resolve=False)
        if not isinstance(config, DictConfig) or not (texts["data"]["_target_"] and texts["model"]["_target_"]):
            raise ValueError("neither data nor model")
        return config
    except Exception as error:  # the errors of YAML, OmegaConf and the system have no common class
        raise UserError(f"{path} is missing or damaged: restore it, or choose another run") from error


def open_source(config: DictConfig) -> tuple[Any, list[str]]:
    """Return the test images and the names of the classes."""
    if OmegaConf.select(config, "data.lazy", default=False):
        raise UserError(
            "this page shows whole images, and those of this run are read patch by patch: src/predict.py and "
            "src/visualize.py take them"
        )
    try:
        data = open_test_data(config)
    except UserError as error:
        raise UserError(f"{error}. (DATASET={os.environ.get('DATASET', '')} where this page was started)") from error
    return data.source("test"), list(data.class_names)


def open_network(folder: Path, config: DictConfig) -> tuple[Any, Any]:
    """Return the network with the weights of the run's best checkpoint, and the task; None if it has no task."""
    model = open_run(folder, config, "best").model("this page shows", "network", "predict_step")
    return model.network.requires_grad_(False), getattr(model, "task", None)


def checkpoint_time(folder: Path) -> float:
    """Return when the best checkpoint was written: a network that was opened earlier is outdated."""
    try:
        return find_checkpoint(folder, "best").stat().st_mtime
    except (UserError, OSError):
        return 0.0
