"""The table of settings: everything that the program has to know about a setting before it composes or trains.

The command line, TAB, resume, sweeps and reports read their lists here. The file imports neither torch nor Hydra. What
only one class understands is checked in the package of that class, see `check`.
"""

import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, InterpolationToMissingValueError

from process import secrets
from process.errors import UserError
from process.files import path_from_setting
from task import metrics

SRC = Path(__file__).parent
TASK_MODULE = "model.TaskModule"
CLASSIFICATION, MULTILABEL = "task.classification.Classification", "task.multilabel.Multilabel"
SELECTIONS = {  # class -> its short name
    "selection.random_places.RandomPlaces": "random",
    "selection.grid.Grid": "grid",
    "selection.all_places.AllPlaces": "all",
    "selection.fixed.FixedPlaces": "fixed",
    "selection.glimpse.Glimpses": "glimpse",
    "selection.reinforce.Reinforce": "reinforce",
    "selection.ips.IterativeSelection": "ips",
    "selection.attention_sampling.AttentionSampling": "attention_sampling",
    "selection.topk.PerturbedTopK": "topk",
    "selection.brightest.BrightestPlaces": "brightest",
}
HYDRA_NOT_READY = "HydraConfig was not set"
LISTS = ("callbacks", "loggers", "task")  # groups of which several options may be chosen


@dataclass(frozen=True)
class Rule:
    """The type and range of a setting in words, and the test of a value."""

    words: str
    test: Callable[[Any], bool]

    def or_null(self) -> "Rule":
        return Rule(f"{self.words}, or null", lambda value: value is None or self.test(value))


@dataclass(frozen=True)
class Setting:
    """One row of the table; a setting without a row of its own is treated as the node that contains it.

    Args:
        name: dotted name.
        rule: its type and range; None where the part that it belongs to decides.
        optional: only some data sets, networks or commands have it.
        fixed: may not change when a run is resumed.
        fixed_in_epoch: may not change when a run is resumed inside an epoch: it decides what a batch holds.
        new_patience: a run that stopped early continues when this changes.
        new_schedule: the learning-rate schedule starts anew when this changes.
        comparable: trials of a search that differ in it may be compared: it does not influence the result.
        repeats: runs that differ in it alone repeat one experiment.
        replaced: a group whose settings belong to the chosen option, and are dropped when another one is chosen.
        path: TAB completes paths.
        free_text: may be typed without the quotes that Hydra's grammar asks for.
        before_hydra: read before Hydra starts; part of no config.
    """

    name: str
    rule: Rule | None = None
    optional: bool = False
    fixed: bool = False
    fixed_in_epoch: bool = False
    new_patience: bool = False
    new_schedule: bool = False
    comparable: bool = False
    repeats: bool = False
    replaced: bool = False
    path: bool = False
    free_text: bool = False
    before_hydra: bool = False


def _integer(low: int) -> Rule:
    return Rule(f"a whole number >= {low}", lambda v: type(v) is int and v >= low)


def _number(low: float, high: float = float("inf")) -> Rule:
    words = f"a number >= {low:g}" + (f" and <= {high:g}" if high < float("inf") else "")
    return Rule(words, lambda v: type(v) in (int, float) and low <= v <= high and v < float("inf"))


def _one_of(*values: object) -> Rule:
    # compared by type too: in Python True == 1
    return Rule("one of " + ", ".join(map(str, values)), lambda v: any(v == x and type(v) is type(x) for x in values))


_PART = Rule("the settings in its YAML, set one by one", lambda v: isinstance(v, DictConfig))
_TEXT = Rule("a text", lambda v: isinstance(v, str) and v != "")
_SWITCH = Rule("true or false", lambda v: type(v) is bool)
_NAMES = Rule(
    "a list of names such as [mean,max]",
    lambda v: isinstance(v, ListConfig) and len(v) > 0 and all(isinstance(name, str) for name in v),
)
_METRICS = Rule("a list of names such as [accuracy,top_5]", lambda v: isinstance(v, ListConfig))
_TAGS = Rule(
    "a list of words such as [baseline,warmup], of 64 characters at most",
    lambda v: isinstance(v, ListConfig) and all(0 < len(str(word)) <= 64 for word in v if word is not None),
)
_SEED = Rule("a whole number from 0 to 4294967295", lambda v: type(v) is int and 0 <= v < 2**32)
_SIZE = Rule(
    "[height, width]", lambda v: isinstance(v, ListConfig) and len(v) == 2 and all(type(n) is int and n >= 1 for n in v)
)
_SHAPE = Rule(
    "a list of whole numbers >= 1, [] for one number",
    lambda v: isinstance(v, ListConfig) and all(type(n) is int and n >= 1 for n in v),
)
_NUMBERS = Rule(
    "a list of numbers, one per channel or feature, or one for all",
    lambda v: isinstance(v, ListConfig) and len(v) > 0 and all(type(x) in (int, float) for x in v),
)
_RANGE = Rule(
    "the smallest and the largest number, such as [1,10]",
    lambda v: isinstance(v, ListConfig) and len(v) == 2 and all(type(n) is int and n >= 1 for n in v) and v[0] <= v[1],
)
_SHARE = Rule(
    "a ratio between 0 and 1, a whole number, or 0 for none",
    lambda v: (type(v) is int and v >= 0) or (type(v) is float and 0 <= v < 1),
)
_WEIGHTS = Rule(
    "a list of numbers >= 0, one per class or label, such as [1,2.5]",
    lambda v: (
        isinstance(v, DictConfig)  # whatever builds a tensor
        or (isinstance(v, ListConfig) and all(type(x) in (int, float) and 0 <= x < float("inf") for x in v) and any(v))
    ),
)
_COUNTS = Rule(
    "a list of whole numbers >= 1, such as [1,4,16,64]",
    lambda v: isinstance(v, ListConfig) and all(type(n) is int and n >= 1 for n in v),
)
_LIMIT = Rule(
    "a number of batches, or a ratio such as 0.1 (a whole epoch: 1.0)",
    lambda v: (type(v) is int and v >= 1) or (type(v) is float and 0 < v <= 1),
)
_LIMIT_OR_NONE = Rule(f"{_LIMIT.words}, or 0 for none", lambda v: v == 0 or _LIMIT.test(v))
_TIME = Rule(
    "a time such as 00:12:00:00 (days:hours:minutes:seconds)",
    lambda v: isinstance(v, DictConfig) or (isinstance(v, str) and re.fullmatch(r"\d+:\d\d:\d\d:\d\d", v) is not None),
)
_INTERVAL = Rule(f"{_LIMIT.words}, or {_TIME.words}", lambda v: _LIMIT.test(v) or _TIME.test(v))
_END = Rule("a whole number >= 1, or -1 for no end", lambda v: type(v) is int and (v >= 1 or v == -1))
_COMMENT = Rule("a text", lambda v: isinstance(v, str | int | float)).or_null()
_BITS = Rule("a whole number from 2 to 8", lambda v: type(v) is int and 2 <= v <= 8)
_FACTOR = _number(0)
_POSITIVE = Rule("a number > 0", lambda v: type(v) in (int, float) and 0 < v < float("inf"))
_TIMES = re.compile(r"(?=.*[1-9])(\d+\.?\d*|\.\d+)x")
_RATE = Rule(
    "a number > 0, or a factor of hparams.lr such as 0.1x, or null",
    lambda v: v is None or _POSITIVE.test(v) or (isinstance(v, str) and _TIMES.fullmatch(v) is not None),
)
_OPTIMIZER = Rule("the name of a class of torch.optim", lambda v: isinstance(v, str) and v.isidentifier())
_DIGIT = Rule("a digit, 0 to 9", lambda v: type(v) is int and 0 <= v <= 9)

TABLE = (
    Setting("project_name", _TEXT, comparable=True),
    Setting("experiment_name", _TEXT, comparable=True),
    Setting("comment", _COMMENT, comparable=True, free_text=True),
    Setting("tags", _TAGS, comparable=True),
    Setting("verbosity", _one_of(0, 1, 2), comparable=True),
    Setting("debug", _SWITCH, fixed=True),
    Setting("metrics", _METRICS),
    Setting("task", fixed=True, replaced=True),
    Setting("task_weights", _PART),
    Setting("resume", comparable=True, path=True, free_text=True),
    Setting("init_from", path=True, free_text=True),
    Setting("resume_sweep", path=True, before_hydra=True),
    Setting("settings_file", path=True, before_hydra=True),
    Setting("trust", before_hydra=True),
    # what people sweep
    Setting("hparams", _PART),
    Setting("hparams.seed", _SEED, fixed=True, repeats=True),
    Setting("hparams.batch_size", _integer(1), fixed_in_epoch=True, new_schedule=True),
    Setting("hparams.max_epochs", _integer(1), new_patience=True, new_schedule=True),
    Setting("hparams.optimizer", _OPTIMIZER, fixed=True),
    Setting("hparams.lr", _number(0), new_schedule=True),
    Setting("hparams.embed_lr", _RATE, optional=True, new_schedule=True),  # runs of older versions lack it
    Setting("hparams.label_smoothing", _number(0, 1)),
    Setting("hparams.monitor", _TEXT, new_patience=True),
    Setting("hparams.monitor_mode", _one_of("min", "max")),
    Setting("hparams.patience", _integer(0).or_null(), new_patience=True),
    Setting("hparams.patch_size", _integer(1).or_null()),
    Setting("hparams.patch_num_min", _integer(1)),
    Setting("hparams.patch_num_max", _integer(1)),
    # runs of older versions lack it; fixed, as validations before and after a change could not be compared
    Setting("hparams.test_patch_num", _integer(1).or_null(), optional=True, fixed=True),
    Setting("model.name_suffix", optional=True, fixed=True),
    # runs of older versions have them, others model/selection=
    Setting("hparams.patch_mode", _one_of("random", "grid", "all").or_null(), optional=True),
    Setting("hparams.patch_replace", _SWITCH, optional=True),
    Setting("model.network.selection", optional=True, replaced=True),
    Setting("model.network.selection.replace", _SWITCH, optional=True),
    Setting("hparams.pool", _NAMES),
    Setting("hparams.bits", _BITS, optional=True),
    # the data: a resumed run goes on with the same images
    Setting("data", fixed=True),
    Setting("data.root", comparable=True, path=True),
    Setting("data.path", optional=True, comparable=True, path=True),
    Setting("data.batch_size", _integer(1)),
    Setting("data.seed", _integer(0), fixed=True, repeats=True),
    Setting("data.split_seed", _integer(0), fixed=True, repeats=True),
    Setting("data.channels", _integer(1).or_null(), fixed=True),
    Setting("data.image_size", _SIZE.or_null(), fixed=True),
    Setting("data.features", _integer(1), optional=True, fixed=True),
    Setting("data.num_classes", optional=True, fixed=True),
    Setting("data.target_shape", _SHAPE, optional=True, fixed=True),
    Setting("data.mean", _NUMBERS, fixed=True),
    Setting("data.std", _NUMBERS, fixed=True),
    Setting("data.valid", _SHARE, fixed=True),
    Setting("data.fold", _integer(0).or_null(), fixed=True, repeats=True),
    Setting("data.num_folds", _integer(2), fixed=True),
    Setting("data.limit_train", _integer(1).or_null(), fixed=True),
    Setting("data.balanced", _SWITCH, optional=True, fixed=True),
    Setting("data.num_workers", _integer(0).or_null(), comparable=True),
    Setting("data.crop_padding", _integer(0)),
    Setting("data.warp", _number(0, 1), optional=True),
    Setting("data.flip", _SWITCH),
    Setting("data.memory_limit_gib", _number(0), optional=True),
    Setting("data.cache", _SWITCH, optional=True, comparable=True),
    Setting("data.max_megapixels", _POSITIVE, optional=True, comparable=True),
    Setting("data.lazy", _SWITCH, optional=True, fixed=True),
    Setting("data.level", _integer(0), optional=True, fixed=True),
    Setting("data.magnification", _POSITIVE.or_null(), optional=True, fixed=True),
    Setting("data.tissue", _number(0, 1).or_null(), optional=True, fixed=True),
    Setting("data.tissue_threshold", _number(0, 1), optional=True, fixed=True),
    Setting("data.white", _POSITIVE.or_null(), optional=True, fixed=True),
    Setting("data.target_digit", _DIGIT, optional=True, fixed=True),
    Setting("data.bag_size_mean", _number(1), optional=True, fixed=True),
    Setting("data.bag_size_std", _number(0), optional=True, fixed=True),
    Setting("data.max_elements", _integer(1).or_null(), optional=True, fixed=True),
    Setting("data.mix", _integer(0).or_null(), optional=True, fixed=True),
    Setting("data.draw", _one_of("rows", "runs"), optional=True, fixed=True),
    Setting("data.set_size", _RANGE, optional=True, fixed=True),
    Setting("data.steps_per_epoch", _integer(1), optional=True, fixed=True, new_schedule=True),
    Setting("data.valid_sets", _integer(0), optional=True, fixed=True),
    Setting("data.test_sets", _integer(0), optional=True, fixed=True),
    Setting("data.valid_images", _integer(0), optional=True, fixed=True),
    Setting("data.test_images", _integer(0), optional=True, fixed=True),
    Setting("data.pieces", _integer(0), optional=True, fixed=True),
    Setting("data.piece_size", _integer(1), optional=True, fixed=True),
    Setting("data.components", _integer(1), optional=True, fixed=True),
    Setting("data.train_bags", _integer(1), optional=True, fixed=True),
    Setting("data.test_bags", _integer(1), optional=True, fixed=True),
    # the parts of a training
    Setting("optimizer", _PART, new_schedule=True),
    Setting("optimizer._target_", fixed=True, new_schedule=True),
    Setting("scheduler", new_schedule=True, replaced=True),
    Setting("loss", replaced=True),
    Setting("loss.weight", _WEIGHTS.or_null(), optional=True),
    Setting("loss.pos_weight", _WEIGHTS.or_null(), optional=True),
    Setting("trainer", new_schedule=True),
    Setting("trainer.accelerator", new_schedule=True, comparable=True),
    Setting("trainer.devices", fixed_in_epoch=True, new_schedule=True, comparable=True),
    Setting("trainer.num_nodes", fixed_in_epoch=True, new_schedule=True),
    Setting("trainer.max_epochs", _END.or_null(), optional=True, new_schedule=True),
    Setting("trainer.max_steps", _END, optional=True, new_schedule=True),
    Setting("trainer.max_time", _TIME.or_null(), optional=True, new_schedule=True),
    Setting("trainer.accumulate_grad_batches", _integer(1), optional=True, new_schedule=True),
    Setting("trainer.gradient_clip_val", _number(0).or_null(), optional=True, new_schedule=True),
    Setting("trainer.log_every_n_steps", _integer(0).or_null(), optional=True, new_schedule=True),
    Setting("trainer.limit_train_batches", _LIMIT.or_null(), optional=True, new_schedule=True),
    Setting("trainer.limit_val_batches", _LIMIT_OR_NONE.or_null(), optional=True, new_schedule=True),
    Setting("trainer.limit_test_batches", _LIMIT_OR_NONE.or_null(), optional=True, new_schedule=True),
    Setting("trainer.check_val_every_n_epoch", _integer(1).or_null(), optional=True, new_schedule=True),
    Setting("trainer.val_check_interval", _INTERVAL.or_null(), optional=True, new_schedule=True),
    Setting("callbacks", new_patience=True, comparable=True, replaced=True),
    Setting("loggers", comparable=True, replaced=True),
    Setting("run_state", _PART),
    Setting("guard", _PART, comparable=True),
    Setting("guard.patience", _number(0), comparable=True),
    Setting("guard.limit", _number(0), comparable=True),
    Setting("hydra", comparable=True),
    Setting("hydra.launcher", comparable=True, replaced=True),
    Setting("hydra.sweeper", comparable=True, replaced=True),
    Setting("hydra.run.dir", comparable=True, free_text=True),
    Setting("hydra.sweep.dir", comparable=True, free_text=True),
    # commands that use a trained network
    Setting("run", optional=True, path=True, free_text=True),
    Setting("ckpt", _TEXT, optional=True, free_text=True),
    Setting("input", optional=True, path=True, free_text=True),
    Setting("output", _TEXT, optional=True, path=True, free_text=True),
    Setting("sizes", _COUNTS, optional=True, comparable=True),
    Setting("draws", _integer(1), optional=True),
    Setting("patch_num", _integer(1).or_null(), optional=True),
    Setting("files", _PART, optional=True),
    Setting("statistics", _PART, optional=True),
    Setting("predictor", _PART, optional=True),
    Setting("bags", _PART, optional=True),
    Setting("attention", _SWITCH, optional=True),
    Setting("places", _SWITCH, optional=True),
    Setting("cut", _one_of("grid", "all", "random"), optional=True),
    Setting("stride", _integer(1).or_null(), optional=True),
    Setting("dtype", _one_of("float16", "float32"), optional=True),
    Setting("patches_per_batch", _integer(1), optional=True),
    Setting("images", _PART, optional=True),
    Setting("cutout", _PART, optional=True),
    Setting("large", _PART, optional=True),
    Setting("embedder", _PART, optional=True),
    Setting("embedding", _PART, optional=True),
    Setting("library", _one_of("torchvision", "timm"), optional=True),
    Setting("name", _TEXT, optional=True),
    Setting("weights", optional=True, path=True, free_text=True),
    Setting("table", _PART, optional=True),
    Setting("exporter", _PART, optional=True),
    Setting("tested", _PART.or_null(), optional=True),
)
ROWS = {setting.name: setting for setting in TABLE}


def names(column: str) -> tuple[str, ...]:
    """Return the settings for which this column of the table is true."""
    return tuple(setting.name for setting in TABLE if getattr(setting, column))


def find(name: str) -> Setting:
    """Return the row of a setting, or of the nearest node that contains it; an empty row where there is none."""
    while name not in ROWS and "." in name:
        name = name.rpartition(".")[0]
    return ROWS.get(name, Setting(name))


def leaves(node: Any, prefix: str = "", into_lists: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of each setting; an empty mapping is a value too.

    Args:
        node: plain mappings, lists and values.
        prefix: the dotted name of `node` itself.
        into_lists: yield the values in a list one by one, under the name of the list, instead of the list.
    """
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key), into_lists)
    elif into_lists and isinstance(node, list):
        for value in node:
            yield from leaves(value, prefix, into_lists)
    else:
        yield prefix, node


def quoted(value: str) -> str:
    """Quote a text for Hydra, in whose quotes a backslash is itself, except in front of a quote."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value)
    return f"'{escaped}'"


def quote(argument: str) -> str:
    """Quote the value of a free-text setting, in which ${ is no interpolation; keep a value that is quoted already."""
    name, equals, value = argument.partition("=")
    is_quoted = value[:1] in "'\"" and value[:1] == value[-1:]
    if not equals or name not in names("free_text") or value == "null" or is_quoted:
        return argument
    return f"{name}={quoted(value)}".replace("${", "\\${")


class SettingError(UserError):
    """A value that a setting cannot have."""

    def __init__(self, name: str, value: Any, remedy: str) -> None:
        self.name, self.value = name, "null" if value is None else str(value)
        super().__init__(f"{name}={self.value}: {remedy}")


def check_value(name: str, value: Any) -> None:
    """Raise a SettingError if a setting of that name cannot have this value; lists are plain ones here."""
    rule = ROWS[name].rule if name in ROWS else None
    if rule is not None and not (isinstance(value, str) and "${" in value):
        known = OmegaConf.create({"value": value}).value
        if not rule.test(known):
            raise SettingError(name, value, f"must be {rule.words}")


def check(config: DictConfig) -> None:
    """Raise a UserError for the first setting whose value is missing, of another type, or out of range.

    It is called before a run folder exists and before torch is imported. The package of the data set, and that of the
    network, may check more: check(config) in its own settings.py, such as src/datamodule/settings.py.
    """
    if OmegaConf.is_missing(config, "run"):
        raise UserError("which run? run=FOLDER, such as run=outputs/Default/2026-11-20/09-00-00")
    refuse_secrets(config)
    absent = object()
    for setting in TABLE:
        if setting.rule is None:
            continue
        value = OmegaConf.select(config, setting.name, default=absent)
        if value is absent and setting.optional:
            continue
        if value is absent:
            raise UserError(
                f"{setting.name} is missing in this config: leave out ~{setting.name}; a YAML of your own begins with "
                "`# @package _global_`, as config/data/digits.yaml does; if an older version wrote the config, repeat "
                "its run by src/rerun.py"
            )
        if not setting.rule.test(value):
            raise SettingError(setting.name, value, f"must be {setting.rule.words}")
    for group in LISTS:
        for name, part in (config.get(group) or {}).items():
            if part is not None and not isinstance(part, DictConfig):
                raise SettingError(f"{group}.{name}", part, "must be the settings in its YAML, or null to leave it out")
    if OmegaConf.select(config, "data._target_") is None:
        raise UserError(
            "data._target_ is missing: the YAML of a data set names its class, or builds on another one: "
            "defaults: [image_folder, _self_]"
        )
    _check_tasks(config)
    _refuse_unresolvable(config)
    _check_monitor(config)
    _check_trainer(config)
    _check_classes(config)
    source = config.get("init_from")
    if source is not None and config.get("resume") is None and "run" not in config:  # only a new run reads it
        remedy = "name a run folder or a checkpoint"
        if not path_from_setting("init_from", str(source), remedy).exists():
            raise UserError(f"init_from={source}: there is no such file or folder: {remedy}")
    if "lr" in config.optimizer:
        raise UserError("optimizer.lr: the learning rate is hparams.lr")
    fold, folds = config.data.fold, config.data.num_folds
    if fold is not None and fold >= folds:
        raise UserError(f"data.fold={fold}: choose 0 to {folds - 1} (data.num_folds={folds})")
    for node in ("model.network", "data"):
        package = str(OmegaConf.select(config, f"{node}._target_", default="")).partition(".")[0]
        if package and (SRC / package / "settings.py").is_file():  # of this repository: a config may be somebody else's
            importlib.import_module(f"{package}.settings").check(config)


def refuse_secrets(config: DictConfig) -> None:
    """Raise a UserError for a secret that a YAML file or an argument contains or fetches from the environment."""
    secrets.refuse(leaves(OmegaConf.to_container(config, resolve=False), into_lists=True))


def _refuse_unresolvable(config: DictConfig) -> None:
    """Raise OmegaConf's error for the first ${...} outside of `hydra` that has no value, before a run folder exists.

    Those that need the run folder have none yet; the recorded settings of a trained run may need its data.
    """
    if "run" in config:
        return
    raw: Any = OmegaConf.to_container(config, resolve=False)
    for name, value in leaves({key: node for key, node in raw.items() if key != "hydra"}):
        if isinstance(value, str) and "${" in value:
            try:
                OmegaConf.select(config, name)
            except InterpolationToMissingValueError:
                continue
            except InterpolationResolutionError as error:
                if HYDRA_NOT_READY not in str(error):
                    raise


def _check_tasks(config: DictConfig) -> None:
    """Raise a UserError for a task that needs a fact of the data which these lack, and for a weight of no task."""
    if "run" in config:
        return
    tasks = config.get("task") or {}
    if not tasks and OmegaConf.select(config, "model._target_") == TASK_MODULE:
        raise UserError("task=[] asks for nothing: choose task=classification or another of config/task/")
    for name, weight in (config.get("task_weights") or {}).items():
        if name not in tasks:
            raise UserError(f"task_weights.{name}: no such task; choose from {', '.join(map(str, tasks))}")
        if not _FACTOR.test(weight):
            raise SettingError(f"task_weights.{name}", weight, f"must be {_FACTOR.words}")
        if len(tasks) == 1 and weight != 1:
            raise UserError(f"task_weights.{name}={weight}: there is no other task to weigh against: leave it out")
    if config.hparams.get("label_smoothing") and not _uses(config, "hparams.label_smoothing"):
        raise UserError(
            f"hparams.label_smoothing={config.hparams.label_smoothing}: the chosen loss has no label smoothing: "
            "choose 0, or loss=cross_entropy"
        )
    _refuse_shared_loss(tasks)
    for name, task in tasks.items():
        for _, value in leaves(OmegaConf.to_container(task, resolve=False), into_lists=True):
            for fact in re.findall(r"\$\{data\.(\w+)\}", str(value)):
                if OmegaConf.select(config, f"data.{fact}") is None:
                    raise UserError(
                        f"task={name} needs data.{fact}, and this data set has none: choose the task that fits its "
                        "targets"
                    )


def _uses(config: DictConfig, setting: str) -> bool:
    """Return whether the loss, a task or the model refers to a setting."""
    nodes = OmegaConf.to_container(OmegaConf.masked_copy(config, ["loss", "task", "model"]), resolve=False)
    return any(f"${{{setting}}}" in str(value) for _, value in leaves(nodes, into_lists=True))


def _refuse_shared_loss(tasks: Mapping[Any, Any]) -> None:
    """Raise a UserError for tasks of different kinds that all take the one loss of `loss=`."""
    nodes = {name: OmegaConf.to_container(task, resolve=False) for name, task in tasks.items()}
    sharing = {
        name: node for name, node in nodes.items() if isinstance(node, dict) and "${loss}" in str(node.get("loss"))
    }
    if len({node.get("_target_") for node in sharing.values()}) > 1:
        chosen, names, first = ",".join(map(str, tasks)), " and ".join(map(str, sharing)), next(iter(sharing))
        raise UserError(
            f"task=[{chosen}]: {names} would share one loss: give each its own loss and metrics, "
            f"'task.{first}.loss={{_target_: CLASS}}' task.{first}.metrics.names=[NAMES]"
        )


def task_results(config: DictConfig) -> dict[str, bool | None]:
    """Return the names of the metrics of validation and test, without stage, and whether higher values are better.

    The loss is among them, and so are the metrics of each of several tasks: max_mae. Raises a UserError for an invalid
    entry of `metrics`.
    """
    found: dict[str, bool | None] = {"loss": False}
    for prefix, family, entries in _families(config):
        try:
            names = metrics.names(entries, family)
            found |= {f"{prefix}{name}": metrics.higher_is_better(entries, name, family) for name in names}
        except ValueError as error:
            of_each = f"; of one task among several: task.{prefix[:-1]}.metrics.names=[...]" if prefix else ""
            raise UserError(f"metrics: {error}{of_each}") from error
        if prefix:
            found[f"{prefix}loss"] = False
    return found


def step_results(config: DictConfig) -> dict[str, bool]:
    """Return the names of what training measures besides the loss, and whether higher values are better."""
    return {
        f"{prefix}{name}": higher
        for prefix, family, entries in _families(config)
        for name, higher in metrics.FAMILIES[family].steps.items()
        if name != "exact" or name in entries  # measured only where the metrics of validation hold it too
    }


def _families(config: DictConfig) -> list[tuple[str, str, Any]]:
    """Return prefix of the results, family and entries of the metrics of each task; none where they are unknown."""
    tasks = config.get("task") or {}
    found = []
    for name, task in tasks.items():
        if family := metrics_family(task):
            entries: Any = OmegaConf.to_container(task.metrics.names, resolve=True)
            found.append((f"{name}_" if len(tasks) > 1 else "", family, entries))
    return found


def metrics_family(task: DictConfig) -> str | None:
    """Return the family of the metrics of a task, see `task.metrics.FAMILIES`; None for a task of one's own."""
    module, _, family = str(OmegaConf.select(task, "metrics._target_", default="")).rpartition(".")
    return family if module == metrics.__name__ and family in metrics.FAMILIES else None


def _check_monitor(config: DictConfig) -> None:
    measured = task_results(config)
    known = len(_families(config)) == len(config.get("task") or {})
    if OmegaConf.select(config, "model._target_") == TASK_MODULE and known:  # else see command/own_tasks.py
        refuse_monitor(config, measured, step_results(config))


def refuse_monitor(
    config: DictConfig, measured: Mapping[str, bool | None], steps: Mapping[str, bool | None], unknown: str = ""
) -> None:
    """Raise a UserError for `hparams.monitor` if nothing of this name is measured, and for the wrong direction.

    Args:
        measured: names of the metrics of validation and test, without stage -> whether higher values are better, None
            if neither direction is.
        steps: likewise, what training measures besides the loss.
        unknown: stages of which not all names are given, `train_` or `train_ valid_`.
    """
    monitor, mode = config.hparams.monitor.removesuffix(mixed_sizes(config)), config.hparams.monitor_mode
    choices = [f"valid_{name}" for name in measured] + ["train_loss", *(f"train_{name}" for name in steps)]
    if monitor not in choices and not monitor.startswith(tuple(unknown.split())):
        raise UserError(f"hparams.monitor={monitor}: no such metric; choose from {', '.join(choices)}")
    name = result_name(monitor)
    higher = measured[name] if name in measured else steps.get(name)
    if higher is not None and higher != (mode == "max"):
        better, right = ("higher", "max") if higher else ("lower", "min")
        raise UserError(f"hparams.monitor={monitor}: the {better} the better, so hparams.monitor_mode={right}")


def _check_trainer(config: DictConfig) -> None:
    """Raise a UserError for settings of Lightning's Trainer that contradict what every run does."""
    trainer = config.get("trainer") or {}
    if batches := trainer.get("overfit_batches"):
        count = batches * config.hparams.batch_size if type(batches) is int else "N"
        remedy = f"its batches change with each epoch: data.limit_train={count} trains on the same images in each"
        raise SettingError("trainer.overfit_batches", batches, remedy)
    if trainer.get("enable_checkpointing") is False:
        remedy = "to keep no checkpoint, callbacks.best=null callbacks.last=null"
        raise SettingError("trainer.enable_checkpointing", "false", remedy)
    if trainer.get("barebones"):
        remedy = "every run logs to metrics.csv: loggers=none callbacks=[basic] is the least"
        raise SettingError("trainer.barebones", "true", remedy)
    monitor, interval = (config.get("scheduler") or {}).get("monitor"), trainer.get("val_check_interval")
    between_epochs = trainer.get("check_val_every_n_epoch", 1) is None or isinstance(interval, str | DictConfig)
    if between_epochs and monitor is not None and not monitor.startswith("train_"):
        raise UserError(
            f"scheduler=plateau reads {monitor} after an epoch, and trainer.val_check_interval={interval} validates at "
            "other moments: leave it out, or watch the training, hparams.monitor=train_loss hparams.monitor_mode=min"
        )


def _check_classes(config: DictConfig) -> None:
    """Refuse a classification of one class, and weights of another number than there are classes or labels."""
    if "run" in config or OmegaConf.select(config, "model._target_") != TASK_MODULE:  # a trained run may lack its data
        return
    tasks = {OmegaConf.select(task, "_target_") for task in (config.get("task") or {}).values()}
    if not tasks & {CLASSIFICATION, MULTILABEL}:
        return
    classes = OmegaConf.select(config, "data.num_classes")
    if classes == 1 and CLASSIFICATION in tasks:
        raise UserError("data.num_classes=1: there is nothing to classify: add the images of a second class")
    one, several = ("class", "classes") if CLASSIFICATION in tasks else ("label", "labels")
    for name in ("weight", "pos_weight"):
        weights = OmegaConf.select(config, f"loss.{name}")
        if isinstance(weights, ListConfig) and classes is not None and len(weights) != classes:
            raise UserError(f"loss.{name} has {len(weights)} numbers for {classes} {several}: give one per {one}")


def holds_sets(data: DictConfig) -> bool:
    """Return whether the items of a data set are sets already, of which nothing is cut."""
    return any(data.get(name) is not None for name in ("train_bags", "set_size", "features"))


def selection(config: DictConfig) -> tuple[str | None, bool]:
    """Return what chooses the patches of the network, and whether it may take a place twice.

    It is a short name of SELECTIONS, the class of any other, or None where nothing is cut.
    """
    network: Any = OmegaConf.select(config, "model.network") or {}
    if "selection" not in network and "patch_mode" in config.hparams:  # the config of an older version
        return config.hparams.patch_mode, config.hparams.patch_replace
    chosen = network.get("selection")
    if chosen is None or network.get("sets"):
        return None, False
    if isinstance(chosen, str):  # network/settings.py refuses it
        return chosen, False
    target = str(chosen.get("_target_"))
    return SELECTIONS.get(target, target), bool(chosen.get("replace", target not in SELECTIONS))


def draws_patches(config: DictConfig) -> bool:
    """Return whether the network cuts as many patches as hparams.patch_num_min and its kind say."""
    if OmegaConf.select(config, "model.network.patch_size") is None:
        return False
    return selection(config)[0] not in (None, "grid", "all")


def lower_is_better(config: DictConfig) -> list[str]:
    """Return the names, without stage, of the results for which lower is better: loss, calibration_error.

    A metric has its own direction; hparams.monitor_mode decides where the watched result has none.
    """
    higher: dict[str, bool | None] = {**step_results(config), **task_results(config)}
    watched = result_name(config.hparams.monitor)
    if higher.get(watched) is None:
        higher[watched] = config.hparams.monitor_mode == "max"
    return [name for name, direction in higher.items() if direction is False]


def mixed_sizes(config: DictConfig) -> str:
    """Return `/n=1-64`, the end of the names of metrics of validation and test that mix sets of different sizes.

    Return nothing where all sets have `hparams.test_patch_num` patches, and for networks that draw no patches.
    """
    hparams = config.hparams
    if not draws_patches(config) or OmegaConf.select(config, "hparams.test_patch_num", default=0) is not None:
        return ""
    smallest, largest = hparams.patch_num_min, hparams.patch_num_max
    return f"/n={smallest}-{largest}" if smallest < largest else ""


def monitored(config: DictConfig) -> str:
    """Return the name by which `hparams.monitor` is logged: valid_loss may be valid_loss/n=1-64."""
    monitor, suffix = config.hparams.monitor, mixed_sizes(config)
    return monitor + suffix if monitor.startswith("valid_") and not monitor.endswith(suffix) else monitor


def result_name(metric: str) -> str:
    """Return the name of a metric without its stage and what it is measured on: `test_loss/n=16` -> loss."""
    return re.sub(r"^(train|valid|test)_|/\w+=.*$", "", metric)
