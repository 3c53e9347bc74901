"""The command line before Hydra sees it: free text needs no quotes, and `run=FOLDER` brings the recorded config."""

import re
from pathlib import Path

import yaml

from run.errors import UserError

FREE_TEXT = (
    "comment",
    "run",
    "ckpt",
    "hydra.run.dir",
)  # any text as it is: Hydra's grammar refuses bare `a=b` and commas


def prepare_argv(argv: list[str]) -> list[str]:
    """Quote free text, and put the recorded config and overrides of `run=FOLDER` before the new ones."""
    runs = [argument.partition("=")[2] for argument in argv if argument.startswith("run=")]
    new = [_quote(argument) for argument in argv if not argument.startswith("run=")]
    if not runs:
        return new
    folder = Path(runs[-1]).absolute()
    config, overrides = folder / "source" / "config", folder / ".hydra" / "overrides.yaml"
    if not config.is_dir() or not overrides.is_file():
        raise UserError(f"run={folder}: no run folder (one with run.json and source/, such as outputs/Default/...)")
    try:
        recorded = [_quote(override) for override in yaml.safe_load(overrides.read_text(encoding="utf-8"))]
    except (yaml.YAMLError, AttributeError, TypeError, UnicodeDecodeError) as error:
        raise UserError(f"{overrides} is damaged: restore it, or evaluate another run") from error
    same_folder = [_quote(f"run={folder}"), _quote(f"hydra.run.dir={folder}"), "hydra.output_subdir=null"]
    return [f"--config-path={config}", *recorded, *same_folder, *new]


def _quote(argument: str) -> str:
    name, equals, value = argument.partition("=")
    if not equals or name not in FREE_TEXT or value == "null" or (value[:1] in "'\"" and value[:1] == value[-1:]):
        return argument
    # in Hydra's quoted values a backslash is itself, except in front of a quote; ${ would be an interpolation
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value)
    escaped = escaped.replace("${", "\\${")
    return f"{name}='{escaped}'"
