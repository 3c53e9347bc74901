"""Run folders and settings files from somebody else: what their config may name, and the switch trust=true.

A folder that this account has not signed (run/signature.py) is data. Its config may name the parts of this repository,
and of the libraries what MODULES and LISTED allow; anything else is refused before it is imported. The user trusts a
folder by trust=true, or on the page of `make explore`.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from process.errors import UserError, first_line
from run.folder import REPOSITORY, shown
from run.signature import is_own

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
    *(f"pytorch_lightning.loggers.{name}" for name in ("CSVLogger", "TensorBoardLogger")),
    *(
        f"pytorch_lightning.profilers.{name}"
        for name in ("SimpleProfiler", "AdvancedProfiler", "PyTorchProfiler", "PassThroughProfiler")
    ),
    *(f"pytorch_lightning.strategies.{name}" for name in ("DDPStrategy", "FSDPStrategy", "SingleDeviceStrategy")),
}
READERS = {"datamodule", "model", "network", "set_module", "torch", "torchmetrics", "torchvision"}
# arguments that name what is written; in a stranger's config they are those of this repository
WRITTEN = {"dirpath", "dirname", "folder", "filename", "path", "save_dir", "log_dir", "store", "default_root_dir"}
PLAIN = re.compile(r"(?<!\\)\$\{[.\w\[\]-]+\}")  # ${hparams.lr}
ENVIRONMENT = re.compile(r"(?<!\\)\$\{oc\.env:\s*\w+(,[^${}]*)?\}")
RESOLVER = re.compile(r"\$\{\s*([\w.]+)\s*:\s*([\w.]*)")
OURS, FROM_ENVIRONMENT = "\0ours", "\0environment"  # what stands for these texts while a config is checked

_trusted: set[Path] = set()


def is_trusted(folder: Path) -> bool:
    """Return whether the folder was made by this user, or the user trusts it."""
    return folder.resolve() in _trusted or is_own(folder)


def trust(folder: Path) -> None:
    """Trust the folder from now on in this process, because the user said so."""
    _trusted.add(folder.resolve())


def check(folder: Path, config: DictConfig) -> None:
    """Raise a UserError if the config of a folder that is not trusted names what a stranger's config may not."""
    if not is_trusted(folder) and (names := strange_names(config)):
        raise UserError(_refusal(folder, names))


def strange_names(config: DictConfig) -> list[str]:
    """Return what a config names that a stranger's may not: classes and functions, resolvers, paths that are written.

    Imports nothing but torch and its libraries. Interpolations count with what they lead to.
    """
    found: set[str] = set()
    try:
        texts: Any = OmegaConf.to_container(config, resolve=False)
        with_marks = OmegaConf.create(_marked(texts, found))
        resolved: Any = OmegaConf.to_container(with_marks, resolve=True)
    except (OmegaConfBaseException, RecursionError, ValueError) as error:
        return sorted(found | {f"an interpolation that cannot be resolved ({first_line(error)})"})
    return sorted(found | set(_strange(resolved)))


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
        if node in _own_texts():
            return OURS
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


def _strange(node: Any) -> Iterator[str]:
    """Yield what the resolved config names that a stranger's may not."""
    if isinstance(node, str) and "${" in node:  # made of parts: it would be resolved once more
        yield node
    if isinstance(node, list):
        for value in node:
            yield from _strange(value)
    if isinstance(node, dict):
        if "_target_" in node:
            yield from _strange_target(node)
        for key, value in node.items():
            if isinstance(key, str) and "${" in key:
                yield key
            yield from _strange(value)


def _strange_target(node: dict[Any, Any]) -> Iterator[str]:
    name = node["_target_"]
    if not isinstance(name, str) or not is_listed(name):
        yield str(name)
    elif name.partition(".")[0] not in READERS:
        for key in WRITTEN & node.keys():
            if node[key] is not None and node[key] not in (OURS, *_own_texts()):
                yield f"{key}={node[key]}"
        for entries in node["artifacts"].values() if isinstance(node.get("artifacts"), dict) else ():
            for file in entries if isinstance(entries, list) else [entries]:
                if not isinstance(file, str) or Path(file).is_absolute() or ".." in Path(file).parts:
                    yield f"artifacts={file}"


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
