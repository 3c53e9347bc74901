"""The runs that the page lists, and a run as the page opens it: its network with the best weights, its test images."""

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from command.trained_run import open_run, open_test_data
from process.errors import UserError
from run.checkpoint import find_checkpoint
from run.data_file import read_yaml
from set_module.set_network import cuts_images, draws_patches, patch_num_limit, patch_num_range
from table.collect import RunRecord, known_as, read_runs
from table.rows import short_folder

# settings that are left out when two runs are compared
OF_NO_EFFECT = {"comment", "tags", "loggers", "callbacks", "experiment_name", "experiment", "verbosity"}


def list_runs(folders: list[str]) -> tuple[list[RunRecord], list[RunRecord]]:
    """Return the runs that can be opened, newest first, and the others."""
    runs = read_runs(folder for folder in folders if Path(folder).exists())[::-1]
    good = [run for run in runs if not obstacle(run)]
    return good, [run for run in runs if obstacle(run)]


def obstacle(run: RunRecord) -> str:
    """Return why the run cannot be opened, or an empty text."""
    if run.facts["status"] == "damaged":
        return f"damaged: {run.facts['error']}"
    checkpoints = Path(run.facts["folder"]) / "checkpoints"
    if not any((checkpoints / name).is_file() for name in ("best.ckpt", "last.ckpt")):
        return f"{run.facts['status']}, without a checkpoint"
    return ""


def label(run: RunRecord) -> str:
    """Return `patch_set · MNIST · 0.9890 · 2026-11-20 09-00-00`."""
    comment = str(run.facts.get("comment") or "")
    place = short_name(run)
    if comment:  # a folder's name ends with the comment: show it once
        place = re.sub(r"( \d\d-\d\d-\d\d)_\S*", r"\1", place)
    names = (known_as(f"{stage}_accuracy", run.metrics) for stage in ("test", "valid"))
    accuracy = next((run.metrics[name] for name in names if name in run.metrics), None)
    measured = "" if accuracy is None else f"{accuracy:.4f}"
    status = "" if run.facts["status"] == "finished" else run.facts["status"]
    model, data = (str(run.known.get(group, "?")) for group in ("model", "data"))
    return " · ".join(word for word in (model, data, measured, status, comment, place) if word)


def labels(runs: list[RunRecord]) -> dict[str, str]:
    """Return folder -> label. Labels that would be equal end with the folder: a select box merges equal options."""
    words = [label(run) for run in runs]
    count, folders = Counter(words), [run.facts["folder"] for run in runs]
    return {f: text if count[text] == 1 else f"{text} · {f}" for f, text in zip(folders, words, strict=True)}


def short_name(run: RunRecord) -> str:
    """Return the end of the run's folder: date, time, the number of a sweep's job."""
    return short_folder(run.facts["folder"])


def differing_settings(run: RunRecord, other: RunRecord) -> str:
    """Return `model: patch_set / cnn, ...`, the settings in which two runs differ."""
    names = sorted((run.known.keys() | other.known.keys()) - OF_NO_EFFECT, key=lambda name: ("." in name, name))
    pairs = [(name, run.known.get(name), other.known.get(name)) for name in names]
    return ", ".join(f"{name.removeprefix('hparams.')}: {one} / {two}" for name, one, two in pairs if one != two)


@dataclass(frozen=True)
class OpenedRun:
    """An opened run: `network` is in evaluation mode on the CPU, `source` holds the test images and their labels."""

    folder: Path
    data_key: str  # the same for runs on the same test images
    network: Any
    source: Any
    class_names: list[str]

    @property
    def cuts_patches(self) -> bool:
        """True if the network sees patches that it cuts out of an image."""
        return cuts_images(self.network)

    @property
    def has_bags(self) -> bool:
        """True if the items of the data are bags: sets already."""
        return hasattr(self.source, "members")

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


def read_config(folder: Path) -> DictConfig:
    """Return the composed config of the run with its interpolations, so that $DATASET is that of this machine."""
    path = folder / ".hydra" / "config.yaml"
    try:
        config = OmegaConf.create(read_yaml(path))
        if not isinstance(config, DictConfig) or not (config.data._target_ and config.model._target_):
            raise ValueError("neither data nor model")
        return config
    except Exception as error:  # the errors of YAML, OmegaConf and the system have no common class
        raise UserError(f"{path} is missing or damaged: restore it, or choose another run") from error


def open_source(config: DictConfig) -> tuple[Any, list[str]]:
    """Return the test images and the names of the classes."""
    try:
        data = open_test_data(config)
    except UserError as error:
        raise UserError(f"{error}. (DATASET={os.environ.get('DATASET', '')} where this page was started)") from error
    return data.source("test"), list(data.class_names)


def open_network(folder: Path, config: DictConfig) -> Any:
    """Return the network with the weights of the run's best checkpoint."""
    model = open_run(folder, config, "best").model("this page shows", "network", "predict_step")
    return model.network.requires_grad_(False)


def checkpoint_time(folder: Path) -> float:
    """Return when the best checkpoint was written: a network that was opened earlier is outdated."""
    try:
        return find_checkpoint(folder, "best").stat().st_mtime
    except (UserError, OSError):
        return 0.0
