"""What the composed config must satisfy, checked before a run folder exists and before torch is imported."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from metrics import names
from process.errors import UserError
from process.secrets import refuse_in_config


@dataclass(frozen=True)
class Rule:
    """The type of a setting in words, and the test of a value."""

    words: str
    test: Callable[[Any], bool]

    def or_null(self) -> "Rule":
        return Rule(f"{self.words}, or null", lambda value: value is None or self.test(value))


def _whole(low: int) -> Rule:
    return Rule(f"a whole number >= {low}", lambda v: type(v) is int and v >= low)


def _number(low: float, high: float = float("inf")) -> Rule:
    words = f"a number >= {low:g}" + (f" and <= {high:g}" if high < float("inf") else "")
    return Rule(words, lambda v: type(v) in (int, float) and low <= v <= high and v < float("inf"))


def _one_of(*values: object) -> Rule:
    # compared by type too: in Python True == 1
    return Rule("one of " + ", ".join(map(str, values)), lambda v: any(v == x and type(v) is type(x) for x in values))


_PART = Rule("what its YAML describes: leave it out here", lambda v: isinstance(v, DictConfig))
_TEXT = Rule("a text", lambda v: isinstance(v, str) and v != "")
_SWITCH = Rule("true or false", lambda v: type(v) is bool)
_NAMES = Rule(
    "a list of names such as [mean,max]",
    lambda v: isinstance(v, ListConfig) and len(v) > 0 and all(isinstance(name, str) for name in v),
)

_SIZE = Rule(
    "[height, width]", lambda v: isinstance(v, ListConfig) and len(v) == 2 and all(type(n) is int and n >= 1 for n in v)
)
_NUMBERS = Rule(
    "a list of numbers, one per channel or one for all",
    lambda v: isinstance(v, ListConfig) and len(v) > 0 and all(type(x) in (int, float) for x in v),
)
_SHARE = Rule(
    "a ratio between 0 and 1, a whole number, or 0 for none",
    lambda v: (type(v) is int and v >= 0) or (type(v) is float and 0 <= v < 1),
)
_COUNTS = Rule(
    "a list of whole numbers >= 1, such as [1,4,16,64]",
    lambda v: isinstance(v, ListConfig) and all(type(n) is int and n >= 1 for n in v),
)

RULES = {
    **dict.fromkeys(("hparams", "optimizer", "run_state", "guard"), _PART),
    "debug": _SWITCH,
    "verbosity": _one_of(0, 1, 2),
    "metrics": Rule("a list of names such as [accuracy,top_5]", lambda v: isinstance(v, ListConfig)),
    "experiment_name": _TEXT,
    "project_name": _TEXT,
    "comment": Rule("a text", lambda v: isinstance(v, str | int | float)).or_null(),
    "tags": Rule(
        "a list of words such as [baseline,warmup], of 64 characters at most",
        lambda v: isinstance(v, ListConfig) and all(0 < len(str(word)) <= 64 for word in v if word is not None),
    ),
    "guard.patience": _number(0),
    "hparams.seed": Rule("a whole number from 0 to 4294967295", lambda v: type(v) is int and 0 <= v < 2**32),
    "hparams.batch_size": _whole(1),
    "hparams.max_epochs": _whole(1),
    "hparams.optimizer": _TEXT,
    "hparams.lr": _number(0),
    "hparams.label_smoothing": _number(0, 1),
    "hparams.monitor": _TEXT,
    "hparams.monitor_mode": _one_of("min", "max"),
    "hparams.patience": _whole(0).or_null(),
    "hparams.patch_size": _whole(1),
    "hparams.patch_num_min": _whole(1),
    "hparams.patch_num_max": _whole(1),
    "hparams.patch_mode": _one_of("random", "grid", "all").or_null(),
    "hparams.patch_replace": _SWITCH,
    "hparams.pool": _NAMES,
    "data.batch_size": _whole(1),
    "data.seed": _whole(0),
    "data.split_seed": _whole(0),
    "data.channels": _whole(1),
    "data.image_size": _SIZE,
    "data.mean": _NUMBERS,
    "data.std": _NUMBERS,
    "data.valid": _SHARE,
    "data.fold": _whole(0).or_null(),
    "data.num_folds": _whole(2),
    "data.limit_train": _whole(1).or_null(),
    "data.num_workers": _whole(0).or_null(),
    "data.crop_padding": _whole(0),
    "data.flip": _SWITCH,
}


OPTIONAL = {
    "hparams.bits": Rule("a whole number from 2 to 8", lambda v: type(v) is int and 2 <= v <= 8),
    "data.memory_limit_gib": _number(0),
    "data.target_digit": Rule("a digit, 0 to 9", lambda v: type(v) is int and 0 <= v <= 9),
    "data.bag_size_mean": _number(1),
    "data.bag_size_std": _number(0),
    "data.train_bags": _whole(1),
    "data.test_bags": _whole(1),
    "sizes": _COUNTS,
    "ckpt": _TEXT,
    "output": _TEXT,
    "draws": _whole(1),
    "patch_num": _whole(1).or_null(),
    **dict.fromkeys(("files", "predictor", "table", "exporter"), _PART),
    "tested": _PART.or_null(),
}


def check_value(name: str, value: Any) -> None:
    """Raise a UserError if a setting of that name cannot be this; lists are plain ones here."""
    rule = (RULES | OPTIONAL).get(name)
    known = OmegaConf.create({"value": value}).value
    if rule is not None and not (isinstance(value, str) and "${" in value) and not rule.test(known):
        raise UserError(_must_be(name, value, rule))


def check(config: DictConfig) -> None:
    """Raise a UserError for the first setting whose value is missing, of another type, or out of range."""
    if OmegaConf.is_missing(config, "run"):
        raise UserError("which run? run=FOLDER, such as run=outputs/Default/2026-11-20/09-00-00")
    refuse_in_config(config)
    absent = object()
    present = {n: rule for n, rule in OPTIONAL.items() if OmegaConf.select(config, n, default=absent) is not absent}
    for name, rule in (RULES | present).items():
        value = OmegaConf.select(config, name, default=absent)
        if value is absent:
            raise UserError(
                f"{name} is not in this config, which an older version wrote: repeat its run by src/rerun.py"
            )
        if not rule.test(value):
            raise UserError(_must_be(name, value, rule))
    _check_together(config)


def _must_be(name: str, value: Any, rule: Rule) -> str:
    return f"{name}={'null' if value is None else value}: must be {rule.words}"


def _check_together(config: DictConfig) -> None:
    hparams, data = config.hparams, config.data
    entries: Any = OmegaConf.to_container(config.metrics, resolve=True)
    try:
        measured = ["valid_loss", *(f"valid_{name}" for name in names(entries)), "train_loss", "train_accuracy"]
    except ValueError as error:
        raise UserError(f"metrics: {error}") from error
    classifies = config.model._target_ == "model.Classifier"  # of another module, the first validation tells
    if classifies and hparams.monitor not in measured:
        raise UserError(
            f"hparams.monitor={hparams.monitor}: nothing of that name is measured; {', '.join(measured)} are"
        )
    lower = hparams.monitor.endswith(("_loss", "_calibration_error"))
    if classifies and lower != (hparams.monitor_mode == "min"):
        better, mode = ("lower", "min") if lower else ("higher", "max")
        raise UserError(f"hparams.monitor={hparams.monitor}: the {better} the better, so hparams.monitor_mode={mode}")
    if "lr" in config.optimizer:
        raise UserError("optimizer.lr: the learning rate is hparams.lr")
    if hparams.patch_num_min > hparams.patch_num_max:
        raise UserError(
            f"hparams.patch_num_min={hparams.patch_num_min} exceeds hparams.patch_num_max={hparams.patch_num_max}: "
            "choose a minimum <= the maximum"
        )
    if "patch_size" in config.model.network and hparams.patch_size > min(data.image_size):
        height, width = data.image_size
        raise UserError(
            f"hparams.patch_size={hparams.patch_size} exceeds the {height}x{width} images of this data set: "
            f"choose <= {min(data.image_size)}"
        )
    places = math.prod(side - hparams.patch_size + 1 for side in data.image_size)
    drawn = "patch_size" in config.model.network and hparams.patch_mode == "random"
    if drawn and not hparams.patch_replace and hparams.patch_num_max > places:
        raise UserError(
            f"hparams.patch_num_max={hparams.patch_num_max} exceeds the {places} places of a {hparams.patch_size}x"
            f"{hparams.patch_size} patch: choose <= {places}, or hparams.patch_replace=true"
        )
    if OmegaConf.select(config, "data.fold") is not None and not 0 <= data.fold < data.num_folds:
        raise UserError(f"data.fold={data.fold}: choose 0 to {data.num_folds - 1} (data.num_folds={data.num_folds})")
    _check_sets(config)


def _check_sets(config: DictConfig) -> None:
    """Sets are cut out of images, or they are what the data hold."""
    hparams, data = config.hparams, config.data
    of_sets, bags, mode = "patch_size" in config.model.network, "train_bags" in data, hparams.patch_mode
    if bags and not of_sets:
        raise UserError("this data set holds bags, and the network takes images: choose model=patch_set or deep_sets")
    if bags and (data.crop_padding > 0 or data.flip):
        raise UserError("bags are neither cropped nor flipped: data.crop_padding=0 data.flip=false")
    if bags and mode is not None:
        raise UserError(f"hparams.patch_mode={mode}: this data set holds bags, nothing is cut: hparams.patch_mode=null")
    if bags and list(data.image_size) != 2 * [hparams.patch_size]:
        height, width = data.image_size
        raise UserError(
            f"hparams.patch_size={hparams.patch_size}: nothing is cut out of the {height}x{width} images of a bag: "
            f"choose {height}"
        )
    if of_sets and not bags and mode is None:
        raise UserError(
            "hparams.patch_mode=null is for bags, and this data set holds images: choose random, grid or all"
        )
