"""One way to open a trained run: its network with the weights, its classes, its test data, a Trainer on one device.

evaluate.py, predict.py, export.py, visualize.py and the page of `make explore` use it; only `test_data` needs the data.
"""

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from command.cli import build
from process.errors import UserError
from run.checkpoint import find_checkpoint, restore
from run.data_file import DamagedFileError, read_yaml
from run.fields import MANY
from run.folder import MissingRecordError, RecordError, read_run_json

log = logging.getLogger(__name__)

# settings of `data` that change no test image
OF_TRAINING = {"batch_size", "seed", "split_seed", "valid", "fold", "num_folds", "limit_train", "train_bags"}
OF_TRAINING |= {"crop_padding", "flip", "warp", "num_workers", "memory_limit_gib", "max_megapixels", "mean", "std"}
OF_TRAINING |= {"mix", "steps_per_epoch", "valid_sets", "valid_images", "cache"}


@dataclass(frozen=True)
class TrainedRun:
    """A run folder, the config with which it is opened, and the checkpoint whose weights are used."""

    folder: Path
    config: DictConfig
    checkpoint: Path

    def model(self, purpose: str, *needed: str) -> Any:
        """Return the run's LightningModule with the weights of the checkpoint, in evaluation mode.

        Raises a UserError if it lacks one of the attributes and methods `needed`; the message begins with `purpose`.
        """
        model = build(self.config.model)
        _refuse_other_models(model, purpose, needed)
        restore(model, self.checkpoint)
        return model.eval()

    def class_names(self) -> list[str]:
        """Return the class names in run.json; if it has none, those of the data, else the labels 0, 1, ...

        Return none for data without classes.
        """
        classes, names = OmegaConf.select(self.config, "data.num_classes"), None
        if classes is None:
            return []
        try:
            names = read_intact_record(self.folder).get("class_names") or build(self.config.data).class_names
        except UserError as error:
            log.info(f"the classes are given by number, as their names are unknown: {error}")
        numbers = [str(label) for label in range(classes)]
        return names if names and len(names) == len(numbers) else numbers

    def test_data(self, opened: dict[str, Any] | None = None) -> Any:
        """Return the data module with its test items loaded; raise a UserError if it has none, or other classes.

        `opened` keeps it for the next run, which uses it again if its test images and batches are the same.
        """
        opened = {} if opened is None else opened
        key = f"{data_key(self.config)} {self.config.data.batch_size} {self.config.data.num_workers}"
        if key not in opened:
            opened.clear()  # first, so that two data sets need no memory at a time
            opened[key] = open_test_data(self.config)
        data = opened[key]
        refuse_other_classes(self.folder, data.class_names)
        classes = OmegaConf.select(self.config, "data.num_classes") or 0
        if len(data.class_names) != classes:
            raise UserError(
                f"these data have {len(data.class_names)} classes, and {self.folder} was trained on {classes}: choose "
                "the data of the run"
            )
        return data

    def trainer(self, callbacks: Sequence[Any] = (), loggers: Sequence[Any] = (), **settings: Any) -> Any:
        """Return the Trainer of the run's config, see `trainer_of`."""
        return trainer_of(self.config, callbacks, loggers, **settings)


def trainer_of(config: DictConfig, callbacks: Sequence[Any] = (), loggers: Sequence[Any] = (), **settings: Any) -> Any:
    """Return the Trainer of the config, on one device: on several, each would see a part of the images only.

    `settings` replace those of the config.
    """
    from process.gpus import choose_accelerator

    bar = OmegaConf.select(config, "callbacks.progress_bar")
    bars = [] if bar is None else [build(bar)]
    one = {"num_nodes": 1, "strategy": "auto", "enable_checkpointing": False, "fast_dev_run": False}
    logging = {"logger": list(loggers) or False, "enable_progress_bar": bool(bars)}
    accelerator = choose_accelerator(config.trainer.get("accelerator", "auto"))
    device = {"accelerator": accelerator, "devices": _one_device(config.trainer, accelerator)}
    settings = device | one | logging | settings
    return build(config.trainer, **settings, callbacks=[*bars, *callbacks])


def open_run(folder: Path, config: DictConfig, which: str) -> TrainedRun:
    """Open the run in `folder` with the checkpoint `which`: best, last or a path.

    Sets data.num_classes and data.features in `config` to the recorded numbers, which the config may read in the data.
    The weights with which an embedding began are no longer read.
    """
    checkpoint = find_checkpoint(folder, which)
    keep_facts(folder, config)
    if OmegaConf.select(config, "model.network.embed.weights") is not None:  # those of the checkpoint
        config.model.network.embed.weights = None
    return TrainedRun(folder, config, checkpoint)


def keep_facts(folder: Path, config: DictConfig) -> None:
    """Set the facts in `config` that are read from the data to those that the run recorded: its network has them."""
    with suppress(OSError, DamagedFileError, KeyError, TypeError):  # if damaged, the data are read
        recorded = read_yaml(folder / "config.yaml")["data"]
        for fact in ("num_classes", "features"):
            number = recorded.get(fact)
            if type(number) is int and 0 < number <= MANY and fact in config.data:  # more would need gigabytes
                config.data[fact] = number


def open_test_data(config: DictConfig) -> Any:
    """Return the data module with its test items loaded; raise a UserError if it has none."""
    data = build(config.data)
    data.prepare_data()
    data.setup("test")
    if not data.has_test:
        raise UserError("this data set has no test items: choose data that have some")
    return data


def data_key(config: DictConfig) -> str:
    """Return a key that is the same for runs on the same test items."""
    settings = OmegaConf.to_container(config.data, resolve=True)
    assert isinstance(settings, dict)
    alike = {name: value for name, value in settings.items() if name not in OF_TRAINING}
    return f"{sorted(alike.items(), key=str)} {os.environ.get('DATASET')}"


def refuse_other_classes(folder: Path, names: Sequence[str]) -> None:
    """Raise a UserError if the data's classes, or their order, differ from those of the run."""
    trained = read_intact_record(folder).get("class_names") or names
    for number, (name, known) in enumerate(zip_longest(names, trained)):
        if name != known:
            here, there = ("no class" if each is None else repr(each) for each in (name, known))
            raise UserError(
                f"class {number} is {here} in these data, and was {there} where {folder} was trained: name the classes "
                "as they were, or choose the data of the run"
            )


def read_intact_record(folder: Path) -> dict[str, Any]:
    """Return what run.json records; nothing if it is missing or, with a warning, damaged."""
    try:
        return read_run_json(folder)
    except MissingRecordError:
        pass
    except RecordError as error:
        _warn_once(f"{folder}: {error.reason}: it is ignored")
    return {}


@cache
def _warn_once(line: str) -> None:
    log.warning(line)


def _refuse_other_models(model: Any, purpose: str, needed: Sequence[str]) -> None:
    from pytorch_lightning import LightningModule

    # LightningModule has a predict_step and a test_step: only a method of the module's own counts
    inherited = [n for n in needed if getattr(type(model), n, None) is getattr(LightningModule, n, model)]
    missing = [name for name in needed if name in inherited or not hasattr(model, name)]
    if missing:
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise UserError(f"{purpose} a TaskModule: {kind} has no {' and no '.join(missing)}")


def _one_device(trainer: DictConfig, accelerator: str) -> int | list[int]:
    """Return the first device listed, or 1 (any) if this machine has no such GPU: the run may be from another."""
    import torch

    listed = trainer.get("devices")
    if not isinstance(listed, ListConfig) or not listed or accelerator == "cpu":
        return 1
    return [listed[0]] if listed[0] in range(torch.cuda.device_count()) else 1
