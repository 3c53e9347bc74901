"""Run folders and settings files from somebody else: what their config may name, and the switch trust=true.

A folder that this account has not signed (run/signature.py) is data. Its config may name the parts of this repository,
and of the libraries what MODULES and LISTED allow; anything else is refused before it is imported. The user trusts a
folder by trust=true, or on the page of `make explore`.
"""

import ast
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString, ValueType
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

import settings as table
from adapter import hydra_core
from command.hints import is_group
from process.errors import UserError, first_line
from process.ranks import is_rank_zero
from run.folder import REPOSITORY, shown
from run.signature import CONFIG, NAME, is_own, remove_compiled
from settings import leaves

# packages of src/ whose classes are no parts of a training: they start programs, or write where they are told to
NO_PARTS = {"adapter", "ask", "command", "explore", "process", "run", "scaffold", "sweep", "table"}
WRITERS = {"logger.mlflow.Store", "logger.metrics_csv.Table"}
# module -> the base class in it of what may be built; nothing in a module below it, which `import` would lead anywhere
MODULES = {
    "torch.nn": "torch.nn.Module",
    "torch.optim": "torch.optim.Optimizer",
    "torch.optim.lr_scheduler": "torch.optim.lr_scheduler.LRScheduler",
    "torchmetrics.classification": "torchmetrics.Metric",
    "torchvision.transforms": "torch.nn.Module",
    "torchvision.transforms.v2": "torch.nn.Module",
}
LISTED = {
    "torch.tensor",
    *(f"torchvision.transforms.{name}" for name in ("Compose", "ToTensor", "PILToTensor", "ToPILImage", "RandomApply")),
    # others read pickled files, which can hold code
    *(f"torchvision.datasets.{name}" for name in ("MNIST", "FashionMNIST", "KMNIST", "EMNIST", "CIFAR10", "CIFAR100")),
    "torchvision.datasets.FakeData",
    "pytorch_lightning.Trainer",
    *(
        f"pytorch_lightning.callbacks.{name}"
        for name in (
            *("DeviceStatsMonitor", "EarlyStopping", "GradientAccumulationScheduler", "LearningRateMonitor"),
            *("ModelCheckpoint", "ModelSummary", "RichModelSummary", "RichProgressBar", "TQDMProgressBar", "Timer"),
            *("StochasticWeightAveraging", "WeightAveraging", "EMAWeightAveraging"),
        )
    ),
    *(f"pytorch_lightning.profilers.{name}" for name in ("SimpleProfiler", "AdvancedProfiler", "PassThroughProfiler")),
    *(f"pytorch_lightning.strategies.{name}" for name in ("DDPStrategy", "FSDPStrategy", "SingleDeviceStrategy")),
}
READERS = {"datamodule", "model", "network", "selection", "set_module", "task", "torch", "torchmetrics", "torchvision"}
# arguments that name what is written; in a stranger's config they are those of this repository
WRITTEN = {"dirpath", "dirname", "folder", "filename", "path", "save_dir", "log_dir", "store", "default_root_dir"}
PLAIN = re.compile(r"(?<!\\)\$\{[.\w\[\]-]+\}")  # ${hparams.lr}
ENVIRONMENT = re.compile(r"(?<!\\)\$\{oc\.env:\s*\w+(,[^${}]*)?\}")
RESOLVER = re.compile(r"\$\{\s*([\w.]+)\s*:\s*([\w.]*)")
OURS, FROM_ENVIRONMENT = "\0ours", "\0environment"  # what stands for these texts while a config is checked

SWITCH = "trust=true"
LOGGING = {f"logging.{name}" for name in ("StreamHandler", "FileHandler", "NullHandler", "Formatter")}
KEPT = {"mode", "run", "output_subdir", "overrides", "runtime"}  # what the command line says about Hydra itself

_trusted: set[Path] = set()
_switched_on = False
_guarded: Path | None = None  # the stranger's folder out of which Hydra composes now


def is_trusted(folder: Path) -> bool:
    """Return whether the folder was made by this user, or the user trusts it."""
    return folder.resolve() in _trusted or is_own(folder)


def trust(folder: Path) -> None:
    """Trust the folder from now on in this process, because the user said so."""
    _trusted.add(folder.resolve())


def take_switch(words: list[str]) -> list[str]:
    """Return the command line without trust=true, which is_switched_on returns from now on."""
    global _switched_on
    typed = [word for word in words if word.startswith("trust=")]
    if wrong := [word for word in typed if word.lower() not in (SWITCH, "trust=false")]:
        raise UserError(f"{wrong[0]}: must be true or false")
    _switched_on = typed[-1:] != [] and typed[-1].lower() == SWITCH
    return [word for word in words if word not in typed]


def is_switched_on() -> bool:
    """Return whether the user has typed trust=true."""
    return _switched_on


def check_code(folder: Path) -> None:
    """Raise a UserError for a folder whose own copy of the code is to run, if it is neither own nor trusted."""
    if is_own(folder):
        _check_links(folder, own=True)
        remove_compiled(folder)
    elif _switched_on:
        _announce(f"runs the code in {shown(folder / 'source')}")
    elif not is_trusted(folder):
        raise UserError(
            f"{shown(folder)} was not made by you here, and the code in it would run: read {shown(folder / 'source')}, "
            f"then add {SWITCH}"
        )


def _announce(line: str) -> None:
    if is_rank_zero():
        print(line, file=sys.stderr, flush=True)


def check(folder: Path, config: DictConfig) -> None:
    """Raise a UserError if the config of a folder that is not trusted names what a stranger's config may not."""
    if not is_trusted(folder) and (names := strange_names(config)):
        raise UserError(_refusal(folder, names))


def strange_names(config: DictConfig) -> list[str]:
    """Return what a config names that a stranger's may not: classes and functions, resolvers, paths that are written.

    Imports nothing but torch and its libraries. Interpolations count with what they lead to.
    """
    found: set[str] = set()
    texts: Any = OmegaConf.to_container(config, resolve=False)
    found |= set(_strange_about_hydra(texts.pop("hydra", None) or {}))
    try:
        with_marks = OmegaConf.create(_marked(texts, found))
        resolved: Any = OmegaConf.to_container(with_marks, resolve=True)
    except (OmegaConfBaseException, RecursionError, ValueError) as error:
        return sorted(found | {f"an interpolation that cannot be resolved ({first_line(error)})"})
    return sorted({_shown(name) for name in found | set(_strange(resolved))})


def _shown(name: str) -> str:
    """Return a name with the usual writing in place of the marks, and nothing that a terminal would obey."""
    text = name.replace(OURS, "${...}").replace(FROM_ENVIRONMENT, "${oc.env:...}")
    return text if text.isprintable() else repr(text)


def _strange_about_hydra(node: dict[str, Any]) -> Iterator[str]:
    """Yield what a config would have Hydra itself build, log, set or search, if it is not this repository's."""
    job = node.get("job") or {}
    for name in ("callbacks", "job_logging", "hydra_logging"):
        for key, value in leaves(node.get(name) or {}, into_lists=True):
            if key.rpartition(".")[2] in ("_target_", "class", "()") and value not in (*_own_texts(), *LOGGING):
                yield str(value)
    yield from (f"hydra.job.env_set.{name}" for name in job.get("env_set") or {})
    yield from (f"hydra.searchpath={path}" for path in node.get("searchpath") or [])
    if job.get("chdir"):
        yield "hydra.job.chdir"


@contextmanager
def guard(
    folder: Path | None, own_hydra: Callable[[], DictConfig], own_settings: Callable[[], dict[str, Any]]
) -> Iterator[None]:
    """Have Hydra compose the config of a run in the block only if it may: the folder is own or trusted, or data alone.

    What a stranger's config says about Hydra itself (callbacks, logging, variables) is replaced by `own_hydra`, and
    what somebody else's, trusted or not, says about the command that opens it, such as which file is written, by
    `own_settings`.
    """
    global _guarded
    own = folder is not None and is_own(folder)
    if folder is not None:
        _check_links(folder, own)
    if folder is None or own:
        yield
        return
    if _switched_on:
        trust(folder)
    hydra_node, settings = None if is_trusted(folder) else own_hydra(), own_settings()
    announced = False

    def examine(config: DictConfig) -> None:
        nonlocal announced
        with open_dict(config):
            for name, value in settings.items():
                config[name] = value
        names = strange_names(config)
        if hydra_node is not None:
            if names:
                raise UserError(_refusal(folder, names))
            _replace_hydra(config, hydra_node)
        elif not announced:
            announced = True
            _announce(f"trusts {shown(folder)}: its config names {', '.join(names) or 'nothing that is not listed'}")

    _guarded = folder if hydra_node is not None else None
    try:
        with hydra_core.passing_configs_to(examine):
            yield
    finally:
        _guarded = None


def _check_links(folder: Path, own: bool) -> None:
    """Raise a UserError for a link, a pipe or a device in a folder: writing to it would write elsewhere, or wait.

    An own folder may have links to its own files, as wandb makes them. With the switch the first one is announced.
    """
    leading = next(_links(folder, within=own), None)
    if leading is None or folder.resolve() in _trusted:
        return
    if _switched_on:
        _announce(f"uses {shown(leading)}, a link or no regular file, which may be written")
    elif own:
        raise UserError(
            f"{shown(leading)} is a link out of the folder, or no regular file, and may be written: remove it, or add "
            f"{SWITCH} to use it"
        )
    else:
        raise UserError(
            f"{shown(folder)} was not made by you here, and {shown(leading)} in it is a link or no regular file: "
            f"remove it, or add {SWITCH} to use it"
        )


def _links(folder: Path, within: bool) -> Iterator[Path]:
    """Yield the links, pipes and devices in a folder; `within`: without links to regular files and folders in it.

    With `within`, what lies in a folder `wandb` is left out too: wandb links its log to a file of its own elsewhere.
    """
    real = os.path.realpath(folder)
    for parent, folders, names in os.walk(folder):
        for path in (Path(parent, name) for name in sorted((*folders, *names))):
            with suppress(FileNotFoundError):  # a temporary file that is gone
                mode = path.lstat().st_mode
                if within and stat.S_ISLNK(mode) and Path(os.path.realpath(path)).is_relative_to(real):
                    continue
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    yield path
        if within and "wandb" in folders:
            folders.remove("wandb")


def _replace_hydra(config: DictConfig, own: DictConfig) -> None:
    table.check_value("verbosity", config.get("verbosity"))  # a part of `own`; logging imports what ext://NAME names
    with read_write(config), open_dict(config):
        for name in own.keys() - KEPT:
            config.hydra[name] = own[name]
        config.hydra.job.name = JobRuntime.instance().get("name")


def checked_again(config: DictConfig) -> DictConfig:
    """Return the config of a part that is built now, resolved and checked, if it is out of a stranger's folder."""
    if _guarded is None:
        return config
    resolved = OmegaConf.to_container(config, resolve=True)
    if found := set(_strange(resolved, paths=False)):
        raise UserError(_refusal(_guarded, sorted(found)))
    return OmegaConf.create(resolved)  # type: ignore[return-value]


def check_call(name: str) -> None:
    """Raise a UserError for ${call:...} of another function than this repository calls, in a stranger's folder."""
    if _guarded is not None and name not in functions_called():
        raise UserError(_refusal(_guarded, [name]))


def refuse_unrecordable(path: Path, word: Any) -> None:
    """Raise a UserError for a recorded word that no run records: an option, or a setting of Hydra or of the folder."""
    name = str(word).lstrip("+~").partition("=")[0]
    unknown = not isinstance(word, str) or not re.match(r"[+~]{0,2}[A-Za-z_]", word)
    if unknown or re.match(r"hydra([./@]|$)", name) or name in ("run", "resume", *table.names("before_hydra")):
        raise UserError(f"{path} holds {word!r}, which no run records: it was edited; restore it, or name another run")


def check_settings(file: Path, words: list[str]) -> None:
    """Raise a UserError if a settings file of somebody else sets what a stranger's may not."""
    if "trust" in {word.lstrip("+~").partition("=")[0] for word in words}:
        raise UserError(f"settings_file={file}: trust= is typed in the command, not written in a file")
    if _is_users(file):
        return
    found = sorted({name for word in words for name in _strange_in_setting(word)})
    if _switched_on:
        _announce(f"trusts {file}: it names {', '.join(found) or 'nothing that is not listed'}")
    elif found:
        raise UserError(
            f"settings_file={file} is outside of this repository, and names {', '.join(found[:3])}: read it, then add "
            f"{SWITCH} to use it"
        )


def check_config_folders(words: list[str]) -> None:
    """Raise a UserError for --config-path and --config-dir into a stranger's run folder: Hydra checks nothing."""
    try:
        chosen = hydra_core.parse_options(words) if any(word.startswith("-") for word in words) else {}
    except ValueError:  # refused later, with a remedy
        return
    for option in ("config_path", "config_dir"):
        named = chosen.get(option) or "."
        if option == "config_path" and Path(named).suffix in (".yaml", ".yml"):
            raise UserError(f"--config-path={named}: name its folder, and the file by --config-name={Path(named).stem}")
        paths = {Path(start, named).resolve() for start in (Path.cwd(), REPOSITORY / "src")}  # Hydra tries both
        for folder in {parent for path in paths for parent in path.parents if _is_run(parent)}:
            if not is_trusted(folder) and named != ".":
                _accept_or_refuse_configs(f"--{option.replace('_', '-')}={named}", folder)


def _accept_or_refuse_configs(option: str, folder: Path) -> None:
    if not _switched_on:
        raise UserError(
            f"{option} is in {shown(folder)}, which was not made by you here: open it by run= or resume=, or read "
            f"its config, then add {SWITCH}"
        )
    _announce(f"runs what the config in {shown(folder)} names")


def _is_run(folder: Path) -> bool:
    names = (NAME, "run.json", "sweep.json", ".hydra")
    return any(os.path.exists(folder / name) for name in names)  # noqa: PTH110 - Path raises for a name that is too long


def _is_users(file: Path) -> bool:
    """Return whether a file belongs to this repository or is signed as part of an own run."""
    file = file.resolve()
    for folder in file.parents:
        if _is_run(folder):
            name = str(file.relative_to(folder))
            is_signed = name in CONFIG or (name.startswith("source/") and "/__pycache__/" not in name)
            return is_signed and is_own(folder)
    here = file.relative_to(REPOSITORY).parts if file.is_relative_to(REPOSITORY) else ()
    return bool(here) and here[0] not in ("outputs", "multirun")


def _strange_in_setting(word: str) -> Iterator[str]:
    """Yield what a setting of a file, in Hydra's grammar, names that a stranger's may not."""
    if word.startswith("-"):
        yield word
        return
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        return  # Hydra refuses it too
    name = f"{override.key_or_group}@{override.package}" if override.package else override.key_or_group
    if re.search(r"(^|[./@])hydra([./@]|$)", name):
        yield name
        return
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:  # of options of a group
        return
    for value in override.sweep_iterator() if override.is_choice_sweep() else [override.value()]:
        plain = _plain(value)
        if "_target_" in name and (not isinstance(plain, str) or not is_listed(plain)):
            yield str(plain)
        if is_group(override.key_or_group):
            yield from (f"{name}={text}" for text in _values(plain) if not re.fullmatch(r"[\w-]+", str(text)))
        if name.partition(".")[0] not in ("data", "model"):
            yield from _strange_paths(_nested(name, plain))
        for text in _values(plain):
            if isinstance(text, str) and "$" in ENVIRONMENT.sub("", PLAIN.sub("", text)):
                yield _resolver_in(text)
        yield from _strange(plain, resolved=False)


def _nested(name: str, value: Any) -> Any:
    """Return the mappings that a setting stands for: `a.b=1` -> {a: {b: 1}}."""
    for key in reversed(name.split(".")):
        value = {key: value}
    return value


def _strange_paths(node: Any) -> Iterator[str]:
    """Yield the arguments in mappings that name what is written or uploaded; those of parts that only read may."""
    if isinstance(node, list):
        for value in node:
            yield from _strange_paths(value)
    elif isinstance(node, dict) and str(node.get("_target_")).partition(".")[0] not in READERS:
        yield from _written(node)
        for value in node.values():
            yield from _strange_paths(value)


def _written(node: dict[Any, Any]) -> Iterator[str]:
    """Yield the arguments of one part that name what is written or uploaded, where they are not this repository's."""
    for key in (WRITTEN | {"_args_"}) & node.keys():  # _args_ have no names
        if node[key] is not None and (not isinstance(node[key], str) or node[key] not in (OURS, *_own_texts())):
            yield f"{key}={node[key]}"
    for file in _values(node.get("artifacts")):  # which loggers upload
        if not isinstance(file, str) or Path(file).is_absolute() or ".." in Path(file).parts:
            yield f"artifacts={file}"


def _plain(value: Any) -> Any:
    """Return a parsed value without the quotes of Hydra's grammar."""
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.text if isinstance(value, QuotedString) else value


def _marked(node: Any, found: set[str]) -> Any:
    """Return the config with marks in place of resolvers; add those that only a stranger's config has to `found`."""
    if isinstance(node, dict):
        return {key: _marked(value, found) for key, value in node.items()}
    if isinstance(node, list):
        return [_marked(value, found) for value in node]
    if not isinstance(node, str):
        return node
    if "\0" in node:
        found.add(repr(node))
    elif "${" in PLAIN.sub("", node):
        if node in _own_texts() and not node.startswith("${oc.select:"):  # which returns text of this config
            return OURS
        if node in _own_texts():
            return node
        marked = ENVIRONMENT.sub(FROM_ENVIRONMENT, node)
        if "${" not in PLAIN.sub("", marked):
            return marked
        found.add(_resolver_in(node))
        return OURS
    return node


def _resolver_in(text: str) -> str:
    """Return the name of the function or the resolver that a text calls, for a message."""
    for name, argument in RESOLVER.findall(text):
        if name == "call" and argument not in functions_called():
            return argument or text
        if name not in ("call", "oc.env"):
            return f"${{{name}:}}"
    return text


def _strange(node: Any, resolved: bool = True, paths: bool = True) -> Iterator[str]:
    """Yield what a config names that a stranger's may not.

    Args:
        node: plain mappings, lists and values.
        resolved: whether interpolations are resolved; a text that holds one then would be resolved a second time.
        paths: whether the paths in it are marked where they are this repository's.
    """
    if isinstance(node, str) and resolved and ("${" in node or (OURS in node and node != OURS)):
        yield node
    elif isinstance(node, list):
        for value in node:
            yield from _strange(value, resolved, paths)
    elif isinstance(node, dict):
        if "_target_" in node:
            yield from _strange_target(node, paths)
        for key, value in node.items():
            yield from _strange(key, resolved, paths)
            yield from _strange(value, resolved, paths)


def _strange_target(node: dict[Any, Any], paths: bool) -> Iterator[str]:
    name = node["_target_"]
    if not isinstance(name, str) or not is_listed(name):
        yield str(name)
    elif name.partition(".")[0] not in READERS and paths:
        yield from _written(node)


def _values(node: Any) -> Iterator[Any]:
    """Yield the values in mappings and lists."""
    for _, value in leaves({"value": node}, into_lists=True):
        if value is not None and not isinstance(value, dict):
            yield value


def is_listed(name: str) -> bool:
    """Return whether a stranger's config may name this class or function as a _target_."""
    module, _, leaf = name.rpartition(".")
    if name in LISTED or name in functions_built():
        return True
    if module in MODULES:
        base = _public_class(*MODULES[module].rsplit(".", 1))
        kind = _public_class(module, leaf)
        return kind is not None and base is not None and issubclass(kind, base)
    if module == "torchvision.models":
        from torchvision import models

        return leaf in models.list_models(module=models)
    return name not in WRITERS and _is_own_class(module, leaf)


def _public_class(module: str, name: str) -> type | None:
    import importlib

    kind = getattr(importlib.import_module(module), name, None)
    return kind if isinstance(kind, type) and not name.startswith("_") else None


def _is_own_class(module: str, name: str) -> bool:
    """Return whether src/ defines this class in a module of parts; nothing is imported, and no other name counts."""
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts) or parts[0] in NO_PARTS:
        return False
    path = REPOSITORY.joinpath("src", *parts)
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    return name in _classes(file)


@cache
def _classes(file: Path) -> frozenset[str]:
    """Return the classes that are defined at the top level of a file, none if it cannot be read."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    return frozenset(node.name for node in tree.body if isinstance(node, ast.ClassDef))


@cache
def _own_values() -> tuple[tuple[str, str], ...]:
    """Return name and value of each text in config/, also of what stands in lists."""
    found: list[tuple[str, str]] = []

    def collect(node: Any, key: str = "") -> None:
        if isinstance(node, dict):
            for name, value in node.items():
                collect(value, str(name))
        elif isinstance(node, list):
            for value in node:
                collect(value, key)
        elif isinstance(node, str):
            found.append((key, node))

    for path in sorted((REPOSITORY / "config").rglob("*.yaml")):
        collect(yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    return tuple(found)


@cache
def _own_texts() -> frozenset[str]:
    return frozenset(text for _, text in _own_values())


@cache
def functions_built() -> frozenset[str]:
    """Return the functions, beside classes, that config/ of this repository names as a _target_."""
    return frozenset(text for key, text in _own_values() if key == "_target_" and "$" not in text)


@cache
def functions_called() -> frozenset[str]:
    """Return the functions that config/ of this repository calls by ${call:...}."""
    return frozenset(name for _, text in _own_values() for name in re.findall(r"\$\{call:([\w.]+)", text))


def _refusal(folder: Path, names: list[str]) -> str:
    several = ", ".join(names[:3]) + (f" and {len(names) - 3} others" if len(names) > 3 else "")
    first = f"{shown(folder)} was not made by you here, and its config names {several}"
    modules = [name.split(".")[:-1] for name in names if all(part.isidentifier() for part in name.split("."))]
    for file in (Path("src", *module).with_suffix(".py") for module in modules if module):
        theirs = folder / "source" / file
        if theirs.is_file() and not (REPOSITORY / file).exists():
            copied = f"read {shown(theirs)} and copy it to {file}"
            return f"{first}: {copied}, or repeat the run by python src/rerun.py {shown(folder)} trust=true"
    return f"{first}: read its config.yaml, then add trust=true to run it"
