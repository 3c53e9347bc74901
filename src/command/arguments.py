"""The command line before Hydra reads it: short options, settings files, free text without quotes, the named run.

`--lr 0.1` is hparams.lr=0.1 (config/short_options.yaml declares such options), `settings_file=FILE` (`-c FILE`) stands
for the settings of a YAML file, and `run=` or `resume=` brings the recorded config and settings of that run.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from process.errors import UserError
from process.nested import leaves
from process.secrets import refuse_in_arguments
from run import sweep_record
from run.folder import REPOSITORY
from run.resume import find_run, no_run

# any text as it is: Hydra's grammar refuses bare `a=b` and commas
FREE_TEXT = ("comment", "run", "resume", "init_from", "ckpt", "input", "output", "hydra.run.dir", "hydra.sweep.dir")
SHOW = ("--cfg", "-c", "--info", "-i")
LISTS = ("callbacks", "loggers")  # groups of which several options are chosen
SWEEP = ("-m", "--multirun", "hydra.mode=MULTIRUN")
SHOWN_BY_CFG = ("job", "hydra", "all")  # -c with one of these is Hydra's --cfg
PLAIN = re.compile(r"(?!(null|true|false|nan|inf)$)[A-Za-z_][\w./-]*", re.IGNORECASE)  # what Hydra reads as a text


@dataclass(frozen=True)
class ShortOption:
    """`word` stands for what follows the option, in each of the settings."""

    name: str
    word: str
    settings: tuple[str, ...]

    def given(self, value: str) -> list[str]:
        return [setting.replace(self.word, value) for setting in self.settings]


def short_options() -> dict[str, ShortOption]:
    lines = yaml.safe_load((REPOSITORY / "config" / "short_options.yaml").read_text(encoding="utf-8"))
    parts = [(*option.split(), tuple(settings.split())) for option, settings in lines.items()]
    return {name: ShortOption(name, word, settings) for name, word, settings in parts}


def described_short_options() -> str:
    """A line for each, for --help."""
    rows = [(f"{option.name} {option.word}", " ".join(option.settings)) for option in short_options().values()]
    width = max(len(usage) for usage, _ in rows)
    return "\n  ".join(f"{usage:<{width}}   {settings}" for usage, settings in rows)


def expand_short_options(argv: list[str]) -> list[str]:
    """The settings in place of short options, `--lr 0.1` or `--lr=0.1`; refuses options that nobody knows."""
    options, words = short_options(), iter(argv)
    return [setting for word in words for setting in _settings(word, words, options)]


def refuse_short_options(argv: list[str]) -> None:
    """For the commands that have none."""
    for name in (word.partition("=")[0] for word in argv):
        if name in short_options() and name != "-c":
            raise UserError(f"{name}: an option of train.py alone; settings are written name=value")
        _refuse_unknown(name, [])


def _settings(word: str, following: Iterator[str], options: dict[str, ShortOption]) -> list[str]:
    name, equals, value = word.partition("=")
    if name not in options:
        _refuse_unknown(name, list(options))
        return [word]
    option = options[name]
    if not equals:
        value = next(following, "")
    if name == "-c" and value in SHOWN_BY_CFG:
        return [name, value]
    if not value or (not equals and value in options):
        raise UserError(f"{name} {option.word}: what follows {name} is missing")
    return option.given(value)


def _refuse_unknown(name: str, short: list[str]) -> None:
    hydras = [*get_args_parser()._option_string_actions]
    if not name.startswith("-") or name in (*hydras, "-", "--"):
        return
    meant = [other for other in short if other.startswith(name)]
    if not meant and any(other.startswith(name) for other in hydras):  # which argparse takes by their beginnings
        return
    close = meant or difflib.get_close_matches(name, [*short, *hydras], n=1, cutoff=0.7)
    there = f"there are {', '.join(short)}, and" if short else "there is"
    words = f"did you mean {close[0]}?" if close else f"{there} what --hydra-help lists"
    raise UserError(f"{name}: no such option; {words}")


def expand_settings_files(argv: list[str]) -> list[str]:
    """The settings of the file in place of its name, less those that stand on the command line itself."""
    named = [argument.partition("=")[2] for argument in argv if argument.startswith("settings_file=")]
    new = [argument for argument in argv if not argument.startswith("settings_file=")]
    for file in reversed(named):
        new = [*without(read_settings_file(Path(file)), new), *new]
    return new


def read_settings_file(path: Path) -> list[str]:
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
    return [f"{name}={_value(value)}" for name, value in leaves(settings) if name]


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


def join_added_options(argv: list[str]) -> list[str]:
    """Join what is chosen and added for callbacks, or for loggers, into one list: Hydra takes one addition at most.

    `callbacks=[basic] +callbacks=histograms` -> `callbacks=[basic,histograms]`
    """
    for group in LISTS:
        words = [word for word in argv if re.fullmatch(rf"\+?{group}=(\w+|\[[\w,]*\])", word)]
        if len(words) > 1 and any(word.startswith("+") for word in words):
            name = f"+{group}" if all(word.startswith("+") for word in words) else group
            options = re.findall(r"\w+", ",".join(word.partition("=")[2] for word in words))
            joined = f"{name}=[{','.join(dict.fromkeys(options))}]"
            argv = [*(word for word in argv if word not in words), joined]
    return argv


def prepare_argv(argv: list[str]) -> list[str]:
    """Quote free text; put the recorded config and overrides of `run=` or `resume=FOLDER` before the new ones."""
    if {"hydra.output_subdir=null"} & set(argv):
        return argv  # prepared already: a process that Lightning starts for another rank
    refuse_in_arguments(argv)
    if set(SWEEP) & set(argv) and any(argument.partition("=")[0] in SHOW for argument in argv):
        raise UserError("--cfg and --info show the config of one job: without -m, and with one value for each setting")
    argv = join_added_options(argv)
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
