"""A run as it is looked into: its network with the best weights, and its test images."""

# B images, C H W of an image, K classes

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from command import cli
from process.errors import UserError
from run.checkpoint import find_checkpoint, restore

# settings of `data` that change no test image
OF_TRAINING = {"batch_size", "seed", "split_seed", "valid", "fold", "num_folds", "limit_train", "train_bags"}
OF_TRAINING |= {"crop_padding", "flip", "num_workers", "memory_limit_gib", "mean", "std"}


@dataclass(frozen=True)
class OpenedRun:
    """`network` in evaluation mode, on the CPU; `source` has the test images and their labels."""

    folder: Path
    data_key: str  # the same for runs on the same test images
    network: Any
    source: Any
    class_names: list[str]

    @property
    def cuts(self) -> bool:
        """Whether the network sees patches that it cuts out of an image."""
        return getattr(self.network, "cutout", None) is not None

    @property
    def bags(self) -> bool:
        """Whether the data are sets by themselves."""
        return hasattr(self.source, "members")

    @property
    def chooses(self) -> bool:
        """Whether it is free how many patches are drawn."""
        return hasattr(self.network, "patch_num")

    @property
    def patch_size(self) -> int:
        return self.network.cutout.size


def read_config(folder: Path) -> DictConfig:
    """What the run composed, interpolations as they were written: so that $DATASET is that of this machine."""
    path = folder / ".hydra" / "config.yaml"
    try:
        config = OmegaConf.load(path)
        if not isinstance(config, DictConfig) or not (config.data._target_ and config.model._target_):
            raise ValueError("neither data nor model")
        return config
    except Exception as error:  # YAML's, OmegaConf's and the system's have nothing in common
        raise UserError(f"{path} is missing or damaged: restore it, or choose another run") from error


def open_data(config: DictConfig) -> tuple[Any, list[str]]:
    """The test images and the names of the classes."""
    data = cli.build(config.data)
    try:
        data.prepare_data()
        data.setup("test")
        found = data.has_test
    except UserError as error:
        raise UserError(f"{error}. (DATASET={os.environ.get('DATASET', '')} where this page was started)") from error
    if not found:
        raise UserError("the data of this run have no test images: there is nothing to look at")
    return data.source("test"), list(data.class_names)


def open_network(folder: Path, config: DictConfig) -> Any:
    """With the weights of the run's best checkpoint."""
    checkpoint = find_checkpoint(folder, "best")
    model = cli.build(config.model)
    restore(model, checkpoint)
    return model.network.eval().requires_grad_(False)


def version(folder: Path) -> float:
    """When its checkpoint was written: what was opened before is out of date then."""
    try:
        return find_checkpoint(folder, "best").stat().st_mtime
    except (UserError, OSError):
        return 0.0


def data_key(config: DictConfig) -> str:
    """The same for runs on the same test images."""
    settings = OmegaConf.to_container(config.data, resolve=True)
    assert isinstance(settings, dict)
    alike = {name: value for name, value in settings.items() if name not in OF_TRAINING}
    return f"{sorted(alike.items(), key=str)} {os.environ.get('DATASET')}"
