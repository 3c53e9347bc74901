"""The options of a config group, described by the comments of their YAML files, which are read without Hydra."""

from typing import Any

import yaml

from process.errors import UserError
from run.folder import REPOSITORY

CONFIG = REPOSITORY / "config"


def options(group: str) -> dict[str, str]:
    """Return name -> the first line of its comment, beginning with the default of config.yaml."""
    default = chosen("config", group)
    names = sorted((path.stem for path in (CONFIG / group).glob("*.yaml")), key=str.lower)
    return {name: _comment(f"{group}/{name}") for name in sorted(names, key=lambda name: name != default)}


def chosen(name: str, group: str) -> str | None:
    """Return the option of `group` that config/`name`.yaml chooses in its defaults."""
    for entry in _defaults(name):
        for key, value in entry.items() if isinstance(entry, dict) else ():
            if key.removeprefix("override ").lstrip("/") == group:
                return value
    return None


def takes_sets(model: str) -> bool:
    """Return whether the model is patch_set, or is built on it."""
    parents = [entry.partition("@")[0] for entry in _defaults(f"model/{model}") if isinstance(entry, str)]
    return model == "patch_set" or any(takes_sets(parent) for parent in parents if parent != "_self_")


def holds_bags(data: str) -> bool:
    """Return whether the items of the data are sets already."""
    return any(f"  {name}:" in _text(f"data/{data}") for name in ("train_bags", "set_size", "features"))


def is_folder(data: str) -> bool:
    """Return whether the data are images of a folder, data.root, in which their classes are counted."""
    return "${call:datamodule.class_folders." in _text(f"data/{data}")


def is_bag_folder(data: str) -> bool:
    """Return whether the data are bags of features in a folder, data.root, with a table of them."""
    return "${call:datamodule.bag_table." in _text(f"data/{data}")


def _text(name: str) -> str:
    path = CONFIG / f"{name}.yaml"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _comment(name: str) -> str:
    lines = [line for line in _text(name).splitlines() if not line.startswith("# @package")]
    return lines[0].lstrip("# ") if lines and lines[0].startswith("#") else ""


def _defaults(name: str) -> list[Any]:
    try:
        content = yaml.safe_load(_text(name))
    except yaml.YAMLError as error:
        raise UserError(f"{CONFIG / name}.yaml is not valid YAML: {' '.join(str(error).split())}") from error
    return content.get("defaults", []) if isinstance(content, dict) else []
