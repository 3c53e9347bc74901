"""The command line before Hydra reads it: short options, settings files, free text without quotes, the named run.

`--lr 0.1` is hparams.lr=0.1 (config/short_options.yaml declares such options), `settings_file=FILE` (`-c FILE`) is
replaced by the settings of a YAML file, and `run=` or `resume=` adds the recorded config and settings of that run.
"""

import difflib
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

import settings as table
from adapter import hydra_core
from command import hints, trust
from process.errors import UserError, first_line
from process.files import path_from_setting
from process.ranks import SWEEPS
from process.secrets import refuse_in_arguments
from process.text import printable
from run import sweep_record
from run.data_file import DEEPEST, DIGITS, MIB, DamagedFileError, read_bytes, read_yaml
from run.folder import REPOSITORY
from run.resume import find_run, not_a_run
from settings import leaves, quote, quoted

SHOW = ("--cfg", "-c", "--info", "-i")
LONGEST_OVERRIDE = 100_000  # characters of a recorded setting, such as one that lists files
HELP = ("--help", "-h", "--hydra-help")
RUN = "name a run folder"
LIBRARIES = ("torchvision", "timm")  # whose networks embed.py takes in place of that of a run
OF_LIBRARY = "embed_network"  # the YAML for these
SHOWN_BY_CFG = ("job", "hydra", "all")  # -c with one of these is Hydra's --cfg
MOST_VALUES = 100_000  # in a settings file
LARGEST = 4 * MIB  # of a settings file
PLAIN = re.compile(r"(?!(null|true|false|nan|inf)$)[A-Za-z_][\w./-]*", re.IGNORECASE)  # what Hydra reads as a text


@dataclass(frozen=True)
class ShortOption:
    """Option such as `--lr RATE` that is replaced by settings, in which the option's value replaces `word`."""

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
    """Return a line for each short option, for --help."""
    rows = [(f"{option.name} {option.word}", " ".join(option.settings)) for option in short_options().values()]
    width = max(len(usage) for usage, _ in rows)
    return "\n  ".join(f"{usage:<{width}}   {settings}" for usage, settings in rows)


def expand_short_options(argv: list[str]) -> list[str]:
    """Replace short options, `--lr 0.1` or `--lr=0.1`, by settings. Raises a UserError for unknown options."""
    options, words, expanded = short_options(), iter(argv), []
    for word in words:
        name = word.partition("=")[0]
        if name in options:
            expanded += _expanded(word, words, options)
        else:
            _refuse_unknown(word, argv, list(options))
            expanded.append(word)
    return expanded


def refuse_short_options(argv: list[str]) -> None:
    """Raise a UserError for short options and unknown ones, in commands that have no short options."""
    short = short_options()
    for word in argv:
        name = word.partition("=")[0]
        if name in short and name != "-c":
            raise UserError(f"{name}: only train.py has this option; settings are written name=value")
        _refuse_unknown(word, argv, [])


def network_of_library(argv: list[str]) -> list[str]:
    """Return the arguments of embed.py with the YAML for `model=LIBRARY`, a network in place of that of a run."""
    named = [word.partition("=")[2] for word in argv if word.startswith("model=")]
    run = [word for word in argv if word.startswith("run=")]
    if not named or (run and named[-1] not in LIBRARIES):
        return argv
    if run:
        raise UserError(f"{run[-1]} model={named[-1]}: which network? leave out one of them")
    if named[-1] not in LIBRARIES:
        raise UserError(f"model={named[-1]}: choose {' or '.join(LIBRARIES)}, with name=NAME, or run=FOLDER")
    others = [word for word in argv if not word.startswith("model=")]
    return [f"--config-name={OF_LIBRARY}", *others, f"library={named[-1]}", "hydra.run.dir=."]  # there is no run folder


def refuse_sweeps(argv: list[str], command: str) -> None:
    """Raise a UserError for -m in a command that runs no jobs; with run=, prepare_argv has a line of its own."""
    if (sweeps := [word for word in argv if word in SWEEPS]) and not any(word.startswith("run=") for word in argv):
        raise UserError(f"{sweeps[0]}: {command} takes one value for each setting; only train.py sweeps: leave out -m")


def _expanded(word: str, following: Iterator[str], options: dict[str, ShortOption]) -> list[str]:
    name, equals, value = word.partition("=")
    option = options[name]
    if not equals:
        value = next(following, "")
    if name == "-c" and value in SHOWN_BY_CFG:
        return [name, value]
    if not value or (not equals and value in options):
        raise UserError(f"{name} {option.word}: the value after {name} is missing")
    return option.given(value)


def _refuse_unknown(word: str, argv: list[str], short: list[str]) -> None:
    name, _, value = word.partition("=")
    if not name.startswith("-") or name in ("-", "--") or name in (hydras := hydra_core.option_names()):
        return
    meant = [other for other in short if other.startswith(name)]
    if not meant and any(other.startswith(name) for other in hydras):  # argparse completes beginnings
        return
    after = argv[argv.index(word) + 1 :][:1]
    value = value or next((each for each in after if each[:1] != "-" and "=" not in each), "")
    if not meant and (line := hints.for_dashed(name, value, argv)):
        raise UserError(line)
    close = meant or difflib.get_close_matches(name, [*short, *hydras], n=1, cutoff=0.7)
    there = f"there are {', '.join(short)}, and" if short else "there is"
    words = f"did you mean {close[0]}?" if close else f"{there} what --hydra-help lists"
    raise UserError(f"{name}: no such option; {words}")


def expand_settings_files(argv: list[str]) -> list[str]:
    """Replace `settings_file=` by the settings of that file, without those that the command line sets itself."""
    named = [argument.partition("=")[2] for argument in argv if argument.startswith("settings_file=")]
    new = [argument for argument in argv if not argument.startswith("settings_file=")]
    for file in reversed(named):
        found = read_settings_file(Path(file))
        trust.check_settings(Path(file), found)
        new = [*without(found, new), *new]
    return new


def read_settings_file(path: Path) -> list[str]:
    """Return the settings of a YAML list (`- hparams.lr=0.1`) or mapping (`hparams: {lr: 0.1}`)."""
    try:
        text = read_bytes(path, LARGEST).decode("utf-8-sig")
        _refuse_endless_aliases(path, text)
        settings = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)
    except UserError:
        raise
    except DamagedFileError as error:
        raise UserError(f"settings_file={path} {error}: name a YAML file of settings") from error
    except Exception as error:  # whatever the constructors of YAML raise, for a damaged date or number too
        raise UserError(f"settings_file={path}: cannot be read ({_why_unreadable(error)})") from error
    if isinstance(settings, list):
        if wrong := [each for each in settings if not isinstance(each, str)]:
            raise UserError(
                f"settings_file={path}: {_value(wrong[0]):.100} is no setting; in a list write - name=value"
            )
        return [quote(each) for each in settings]
    assert isinstance(settings, dict)
    if isinstance(settings.get("data"), dict) and "_target_" in settings["data"]:
        raise UserError(
            f"settings_file={path}: that is a whole config; give what differs from the defaults, as "
            ".hydra/overrides.yaml of a run does, or repeat a run by src/rerun.py"
        )
    for name, value in leaves(settings, into_lists=True):
        if isinstance(value, int) and abs(value) >= 10**DIGITS:
            raise UserError(
                f"settings_file={path}: {name} is a number of more than {DIGITS} digits: write a smaller one"
            )
    return [f"{name}={_value(value)}" for name, value in leaves(settings) if name]


def _refuse_endless_aliases(path: Path, text: str) -> None:
    """Raise a UserError for a YAML whose aliases (*name) contain themselves, or multiply to too many values."""
    sizes: dict[int, int] = {}  # of each node with all aliases in it replaced; 0 while it is counted

    def size(node: Any) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = 0
            parts = node.value if isinstance(node, yaml.CollectionNode) else []
            inside = [each for part in parts for each in (part if isinstance(part, tuple) else (part,))]
            sizes[id(node)] = 1 + sum(map(size, inside))
        if not sizes[id(node)]:
            raise UserError(f"settings_file={path}: an alias, *name, stands inside of what it repeats: write it out")
        return sizes[id(node)]

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and size(root) > MOST_VALUES:
        raise UserError(f"settings_file={path}: its aliases, *name, make more than {MOST_VALUES:,} values: write fewer")


def _why_unreadable(error: Exception) -> str:
    """Return the reason in a few words, with the line in the file where it is known."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, UnicodeDecodeError):
        return f"it is no text in UTF-8 from byte {error.start} on"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return printable(f"line {error.problem_mark.line + 1}: {error.problem}")
    if isinstance(error, AttributeError | TypeError):  # of YAML's constructors
        return "a date, number or key in it is damaged"
    return printable(first_line(error))


def _value(value: Any) -> str:
    """Write a value in Hydra's grammar."""
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

    Raises a UserError for an option that stands twice in a list.

    `callbacks=[basic] +callbacks=histograms` -> `callbacks=[basic,histograms]`
    """
    for group in table.LISTS:
        words = [word for word in argv if re.fullmatch(rf"\+?{group}=(\w+|\[[\w,]*\])", word)]
        if len(words) > 1 and any(word.startswith("+") for word in words):
            name = f"+{group}" if all(word.startswith("+") for word in words) else group
            options = re.findall(r"\w+", ",".join(word.partition("=")[2] for word in words))
            joined = f"{name}=[{','.join(dict.fromkeys(options))}]"
            argv = [*(word for word in argv if word not in words), joined]
    for word in argv:
        name, _, value = word.lstrip("+").partition("=")
        options = re.findall(r"\w+", value) if re.fullmatch(r"\[[\w,]*\]", value) and name in table.LISTS else []
        if twice := sorted({option for option in options if options.count(option) > 1}):
            raise UserError(f"{word}: {', '.join(twice)} stands twice: name each option once")
    return argv


def prepare_argv(argv: list[str]) -> list[str]:
    """Quote free text; put the recorded config and overrides of `run=` or `resume=FOLDER` before the new ones."""
    if "hydra.output_subdir=null" in argv:
        return argv  # prepared already: a process that Lightning starts for another rank
    refuse_in_arguments(argv)
    trust.check_config_folders(argv)
    if set(SWEEPS) & set(argv) and has_option(argv, SHOW):
        raise UserError("--cfg and --info show the config of one job: without -m, and with one value for each setting")
    if empty := {"hydra.run.dir=", "hydra.sweep.dir="} & set(argv):
        raise UserError(f"{empty.pop()}: name a folder, or leave this setting out")
    argv = join_added_options(argv)
    named = [argument for argument in argv if argument.startswith(("run=", "resume=")) and argument != "resume=null"]
    new = options_first([quote(argument) for argument in argv if argument not in named])
    if not named:
        return new
    name, _, value = named[-1].partition("=")
    if set(SWEEPS) & set(argv):
        raise UserError(f"{name}= names one run: leave out -m")
    if not value:
        raise UserError(f"{name}=: name a run folder" + (", or last" if name == "resume" else ""))
    folder = (
        find_run(value, finished=bool(new)) if name == "resume" else path_from_setting("run", value, RUN).absolute()
    )
    if not (folder / "source" / "config").is_dir() or (folder / sweep_record.NAME).is_file():
        raise not_a_run(f"{name}=", folder)
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
    if name == "run":  # verbosity belongs to the command that is called
        recorded = [override for override in recorded if not override.startswith("verbosity=")]
    return options_first([*configs, *recorded, *same_folder, *new])


def opened_run(argv: list[str]) -> Path | None:
    """Return the run folder whose config prepare_argv has put into the arguments, None if there is none."""
    for word in argv:
        option, _, path = word.partition("=")
        folder = Path(path).parents[1] if option == "--config-path" and path.endswith("/source/config") else None
        if folder is not None and quote(f"hydra.run.dir={folder}") in argv:
            return folder
    return None


def has_option(argv: list[str], options: tuple[str, ...]) -> bool:
    """Return whether one of these options is given, as `--cfg job` or `--cfg=job`."""
    return any(word.partition("=")[0] in options for word in argv)


def options_first(argv: list[str]) -> list[str]:
    """Move options before settings, as in `a=1 -m b=2`: argparse takes settings in one block only."""
    settings = [word for word in argv if word.startswith("~") or ("=" in word and not word.startswith("-"))]
    return [*(word for word in argv if word not in settings), *settings]


def resumed_sweep(argv: list[str]) -> tuple[Path, list[str]] | None:
    """Return the folder of `resume_sweep=FOLDER` and the arguments of that sweep, changed by the new ones."""
    named = [argument.partition("=")[2] for argument in argv if argument.startswith("resume_sweep=")]
    if not named:
        return None
    refuse_in_arguments(argv)  # before the start is recorded
    folder = sweep_record.find(named[-1])
    record = sweep_record.read(folder)
    new = [argument for argument in argv if not argument.startswith("resume_sweep=") and argument not in SWEEPS]
    if others := [argument for argument in new if not argument.lstrip("+~").startswith(("hydra/", "hydra."))]:
        raise UserError(
            f"{others[0]}: a sweep that is resumed takes only how its jobs are run, hydra/launcher=... or hydra.*; "
            "for other jobs start a new one"
        )
    return folder, [*without(record["arguments"], new), *new]


def recorded_overrides(folder: Path, new: list[str]) -> list[str]:
    """Return the overrides of the run in `folder`, without those that `new` sets again."""
    path = folder / ".hydra" / "overrides.yaml"
    try:
        recorded = read_yaml(path)
    except (OSError, DamagedFileError) as error:
        raise UserError(f"{path} is missing or damaged: restore it, or name another run") from error
    if not isinstance(recorded, list) or not all(map(_is_override, recorded)):
        raise UserError(f"{path} is damaged: restore it, or name another run")
    for override in recorded:
        trust.refuse_unrecordable(path, override)
    return without([quote(override) for override in recorded], new)


def _is_override(word: Any) -> bool:
    """Return whether Hydra's parser can take the word in a short time, and without thousands of nested calls."""
    if not isinstance(word, str) or not 0 < len(word) <= LONGEST_OVERRIDE:
        return False
    depths = itertools.accumulate({"[": 1, "{": 1, "(": 1, "]": -1, "}": -1, ")": -1}.get(letter, 0) for letter in word)
    return max(depths) <= DEEPEST


def without(recorded: list[str], new: list[str]) -> list[str]:
    """Return the recorded overrides without those that `new` sets again or whose option `new` replaces.

    Hydra refuses a group that is chosen twice, and settings that the new option does not have.
    """
    again = {argument.partition("=")[0] for argument in new}
    nodes = {node for group in again for node in (group.replace("/", "."), group.replace("model/", "model.network."))}
    replaced = nodes & set(table.names("replaced"))
    parts = tuple(f"{group}." for group in replaced)
    return [
        override
        for override in recorded
        if override.partition("=")[0] not in again and not override.lstrip("+~").startswith(parts)
    ]


def refuse_misused_options(argv: list[str]) -> None:
    """Raise a UserError for options of Hydra that lack a value, or that make no sense alone or together."""
    if not any(word.startswith("-") for word in argv):
        return
    try:
        chosen = hydra_core.parse_options(argv)
    except ValueError as error:
        raise UserError(f"{error}; --hydra-help explains the options") from error
    if chosen["shell_completion"]:
        raise UserError("--shell-completion is for shells; to have TAB: source hydra/tab_completion_bash src/train.py")
    if chosen["experimental_rerun"]:
        raise UserError("--experimental-rerun: python src/rerun.py FOLDER repeats a run")
    if chosen["resolve"] and not (chosen["cfg"] or chosen["help"]):
        raise UserError(f"--resolve belongs to --cfg; type: {hints.command(['--cfg', 'job', *hints.typed])}")
    exclusive = [f"--{name}" for name in ("run", "multirun", "cfg", "info") if chosen[name]]
    if len(exclusive) > 1:
        raise UserError(f"{' and '.join(exclusive)}: choose one of them")
