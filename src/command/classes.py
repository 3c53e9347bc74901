"""The classes of a run as its own record has them: whoever uses the network need not have its data."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

import yaml
from omegaconf import DictConfig

from command.cli import build
from process.errors import UserError
from run.resume import read_record

log = logging.getLogger(__name__)


def count_by_record(config: DictConfig, folder: Path) -> None:
    """Set data.num_classes to what the run in the folder had, where the config would count classes in the data."""
    with suppress(OSError, ValueError, yaml.YAMLError, KeyError, TypeError):  # damaged: the data are asked
        recorded = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        config.data.num_classes = recorded["data"]["num_classes"]


def refuse_other_classes(folder: Path, names: Sequence[str]) -> None:
    """Raise a UserError where the classes of data are not, in this order, those that the run learned by number."""
    trained = None
    with suppress(UserError):  # damaged: as a run that has none there
        trained = read_record(folder).get("class_names")
    for number, (name, known) in enumerate(zip_longest(names, trained or names)):
        if name != known:
            here, there = ("no class" if each is None else repr(each) for each in (name, known))
            raise UserError(
                f"class {number} is {here} in these data, and was {there} where {folder} was trained: name the classes "
                "as they were, or choose the data of the run"
            )


def class_names(config: DictConfig, folder: Path) -> list[str]:
    """By run.json; of a run that has none there, by its data, or without these by the labels: 0, 1, ..."""
    names = None
    try:
        names = read_record(folder).get("class_names") or build(config.data).class_names
    except UserError as error:
        log.info(f"no names of the classes, their numbers instead: {error}")
    numbers = [str(label) for label in range(config.data.num_classes)]
    return names if names and len(names) == len(numbers) else numbers
