"""`settings_file=FILE` (`-c FILE`): settings that are kept in a YAML, as if they stood on the command line."""

import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from run.argv import quote, quoted, without
from run.errors import UserError

PLAIN = re.compile(r"(?!(null|true|false|nan|inf)$)[A-Za-z_][\w./-]*", re.IGNORECASE)  # what Hydra reads as a text


def expanded(argv: list[str]) -> list[str]:
    """The settings of the file in place of its name, less those that stand on the command line itself."""
    named = [argument.partition("=")[2] for argument in argv if argument.startswith("settings_file=")]
    new = [argument for argument in argv if not argument.startswith("settings_file=")]
    for file in reversed(named):
        new = [*without(read(Path(file)), new), *new]
    return new


def read(path: Path) -> list[str]:
    """Those of a list (`- hparams.lr=0.1`, as in .hydra/overrides.yaml) or of a mapping (`hparams: {lr: 0.1}`)."""
    try:
        settings = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise UserError(f"settings_file={path}: cannot be read ({' '.join(str(error).split())})") from error
    if isinstance(settings, list):
        if wrong := [each for each in settings if not isinstance(each, str)]:
            raise UserError(f"settings_file={path}: {wrong[0]!r} is no setting; in a list write - name=value")
        return [quote(each) for each in settings]
    assert isinstance(settings, dict)
    if isinstance(settings.get("data"), dict) and "_target_" in settings["data"]:
        raise UserError(
            f"settings_file={path}: that is a whole config; give what differs from the defaults, as "
            ".hydra/overrides.yaml of a run does, or repeat a run by src/rerun.py"
        )
    return [f"{name}={_value(value)}" for name, value in _leaves(settings)]


def _leaves(settings: dict[Any, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            found += _leaves(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def _value(value: Any) -> str:
    """In Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_value(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) else quoted(value)
    return repr(value)
