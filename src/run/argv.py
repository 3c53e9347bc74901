"""The command line before Hydra sees it: free text needs no quotes, a run that is named brings its recorded config."""

import re
from pathlib import Path

import yaml

from run import sweep_record
from run.errors import UserError
from run.resume import find_run, no_run
from run.secrets import refuse_in_arguments
from run.source import REPOSITORY

# any text as it is: Hydra's grammar refuses bare `a=b` and commas
FREE_TEXT = ("comment", "run", "resume", "init_from", "ckpt", "input", "output", "hydra.run.dir", "hydra.sweep.dir")
SHOW = ("--cfg", "-c", "--info", "-i")
SWEEP = ("-m", "--multirun", "hydra.mode=MULTIRUN")


def prepare_argv(argv: list[str]) -> list[str]:
    """Quote free text; put the recorded config and overrides of `run=` or `resume=FOLDER` before the new ones."""
    if {"hydra.output_subdir=null"} & set(argv):
        return argv  # prepared already: a process that Lightning starts for another rank
    refuse_in_arguments(argv)
    if set(SWEEP) & set(argv) and any(argument.partition("=")[0] in SHOW for argument in argv):
        raise UserError("--cfg and --info show the config of one job: without -m, and with one value for each setting")
    named = [argument for argument in argv if argument.startswith(("run=", "resume=")) and argument != "resume=null"]
    new = options_first([quote(argument) for argument in argv if argument not in named])
    if not named:
        return new
    name, _, value = named[-1].partition("=")
    if set(SWEEP) & set(argv):
        raise UserError(f"{name}= is of one run: without -m")
    folder = find_run(value, finished=bool(new)) if name == "resume" else Path(value).absolute()
    if not (folder / "source" / "config").is_dir() or (folder / sweep_record.NAME).is_file():
        raise no_run(f"{name}=", folder)
    same_folder = [
        quote(f"{name}={folder}"),
        quote(f"hydra.run.dir={folder}"),
        "hydra.output_subdir=null",
        "hydra.mode=RUN",
    ]
    configs = [f"--config-path={folder / 'source' / 'config'}"]
    if name == "run":  # the command's own YAML: the run may be older than the command
        configs.append(f"--config-dir={REPOSITORY / 'config'}")
    recorded = recorded_overrides(folder, new)
    if name == "run":  # how much the training said is no matter of other commands
        recorded = [override for override in recorded if not override.startswith("verbosity=")]
    return options_first([*configs, *recorded, *same_folder, *new])


def options_first(argv: list[str]) -> list[str]:
    """`a=1 -m b=2` as well: argparse takes settings in one block only."""
    settings = [word for word in argv if word.startswith("~") or ("=" in word and not word.startswith("-"))]
    return [*(word for word in argv if word not in settings), *settings]


def resumed_sweep(argv: list[str]) -> tuple[Path, list[str]] | None:
    """Of `resume_sweep=FOLDER`: the folder, and the arguments with which that sweep began, less what is set anew."""
    named = [argument.partition("=")[2] for argument in argv if argument.startswith("resume_sweep=")]
    if not named:
        return None
    folder = sweep_record.find(named[-1])
    record = sweep_record.read(folder)
    new = [argument for argument in argv if not argument.startswith("resume_sweep=") and argument not in SWEEP]
    if others := [argument for argument in new if not argument.lstrip("+~").startswith(("hydra/", "hydra."))]:
        raise UserError(
            f"{others[0]}: a sweep that is resumed takes only how its jobs are run, hydra/launcher=... or hydra.*; "
            "for other jobs start a new one"
        )
    return folder, [*without(record["arguments"], new), *new]


def recorded_overrides(folder: Path, new: list[str]) -> list[str]:
    """What was set for the run in `folder`, and is not set anew."""
    path = folder / ".hydra" / "overrides.yaml"
    try:
        recorded = [quote(override) for override in yaml.safe_load(path.read_text(encoding="utf-8"))]
    except (OSError, yaml.YAMLError, AttributeError, TypeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is missing or damaged: restore it, or name another run") from error
    return without(recorded, new)


def without(recorded: list[str], new: list[str]) -> list[str]:
    """Less what is now set anew, or belongs to an option that is now another.

    Hydra refuses a group that is chosen twice, and settings that the new option does not have.
    """
    again = {argument.partition("=")[0] for argument in new}
    groups = again & {"scheduler", "loss", "callbacks", "loggers", "hydra/launcher", "hydra/sweeper"}
    parts = tuple(f"{group.replace('/', '.')}." for group in groups)
    return [
        override
        for override in recorded
        if override.partition("=")[0] not in again and not override.lstrip("+~").startswith(parts)
    ]


def quote(argument: str) -> str:
    """Free text in quotes, where ${ is no interpolation; what has quotes stays."""
    name, equals, value = argument.partition("=")
    if not equals or name not in FREE_TEXT or value == "null" or (value[:1] in "'\"" and value[:1] == value[-1:]):
        return argument
    return f"{name}={quoted(value)}".replace("${", "\\${")


def quoted(value: str) -> str:
    """As Hydra reads it: in its quotes a backslash is itself, except in front of a quote."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value)
    return f"'{escaped}'"
