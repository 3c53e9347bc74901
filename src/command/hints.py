"""One-line remedies for mistakes that Hydra reports in several lines, or does not recognise.

They are found by the text of Hydra's messages, and by the names that other projects give to settings.
"""

import importlib
import os
import pkgutil
import re
import shlex
from collections.abc import Callable, Iterable

import yaml
from omegaconf.errors import GrammarParseError

import settings
from process.errors import UserError, first_line, nearest
from process.ranks import SWEEPS
from run.folder import REPOSITORY
from settings import quoted

CONFIG = REPOSITORY / "config"
REMEDIES = {  # part of a library's error message -> what to do
    "No supported gpu backend found": " torch sees no GPU (nvidia-smi tells more); without one: trainer=cpu",
}
ALIASES = {  # a name in other projects -> our setting or group
    **dict.fromkeys(("dataset", "datamodule"), "data"),
    **dict.fromkeys(("net", "network", "arch", "architecture"), "model"),
    **dict.fromkeys(("device", "accelerator"), "trainer"),
    **dict.fromkeys(("epochs", "num_epochs"), "hparams.max_epochs"),
    "logger": "loggers",
    "callback": "callbacks",
    "lr_scheduler": "scheduler",
    "criterion": "loss",
    "learning_rate": "hparams.lr",
    "bs": "hparams.batch_size",
    "gpus": "trainer.devices",
    "launcher": "hydra/launcher",
    "recipe": "experiment",
}
OPTION_ALIASES = {"cuda": "gpu", "lenet5": "lenet", "vgg": "vgg11", "cifar": "CIFAR10", "cosine_annealing": "cosine"}
PARTS = ("selection", "body", "pool", "embed", "encoder", "position")  # of a network of patches: model/pool=...
EXAMPLES = {"hparams": "hparams.lr=0.01 hparams.batch_size=64", "optimizer": "+optimizer.weight_decay=0.01"}
ALREADY_THERE = re.compile(  # Hydra's words for `+name=` where `name=` was meant
    r"An item is already at '([^']+)'|^(\S+) appears more than once|^Multiple values for (\S+)\. To override"
    r"|force-add .* not supported: '\+\+([^=]+)"
)
LITERAL = "a literal ${ is written \\${"
KEY = re.compile(r"[+~]{0,2}[\w$./-]+(@[\w$./-]*){0,1}")  # the name of a setting or a group, with its package
OPTIMIZERS = ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "LBFGS", "NAdam", "RAdam", "RMSprop", "SGD")


def options_of(group: str) -> list[str]:
    """Return the options of a group: the names of its YAML files."""
    return sorted(path.stem for path in (CONFIG / group).glob("*.yaml")) if group else []


def is_group(name: str) -> bool:
    return name != "" and os.path.isdir(CONFIG / name)  # noqa: PTH112 - Path raises for a name that is too long


def is_known(name: str) -> bool:
    """Return whether a setting or a group has this name, as far as that is known without composing."""
    return name in settings.ROWS or is_group(name)


# the command line as the user typed it, kept by command.cli for commands that are printed corrected
script = "src/train.py"
typed: list[str] = []


def command(words: Iterable[str]) -> str:
    """Return the command with these words as it must be typed in a shell."""
    return " ".join(map(shell_quoted, ["python", script, *words]))


def corrected(wrong: str, *right: str) -> str:
    """Return the command with the right words in place of the wrong one; only the right words if a file set it."""
    if wrong not in typed:
        return " ".join(map(shell_quoted, right))
    place = typed.index(wrong)
    return command([*typed[:place], *right, *(word for word in typed[place + 1 :] if word != wrong)])


def word_of(name: str) -> str:
    """Return the word of the command line that sets `name`; without one, the name."""
    return next((word for word in typed if name_of(word) == name), name)


def shell_quoted(word: str) -> str:
    """Quote a word for a shell, in double quotes where it holds single ones, as Hydra's own quotes are."""
    if "'" in word and not re.search(r"[\"$`\\!]", word):
        return f'"{word}"'
    return shlex.quote(word)


def name_of(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def right_words(name: str, value: str) -> list[str] | None:
    """Return the right words for name=value if that is a known mistake, else None.

    `pool=attention` is model/pool=attention, `pool=max` is hparams.pool=[max], `optimizer=sgd` hparams.optimizer=SGD.
    """
    values = value.strip("[]").split(",")
    part = name.rpartition(".")[2]
    if part in PARTS and name != f"model/{part}":
        if set(values) <= set(options_of(f"model/{part}")):
            return [f"model/{part}={','.join(values)}"]
        if part == "pool" and value and "[" not in value:
            lists = [f"[{each}]" for each in values] if set(SWEEPS) & set(typed) else [f"[{value}]"]
            return [f"hparams.pool={','.join(lists)}"]
    if part == "patch_mode" and "null" not in values:
        return [f"model/selection={value}"]
    if part == "patch_replace":
        return [f"model.network.selection.replace={value}"]
    if name in ("optimizer", "model.optimizer"):
        known = {optimizer.lower(): optimizer for optimizer in OPTIMIZERS}
        chosen = [known.get(each.rpartition(".")[2].lower(), "") for each in values]
        return [f"hparams.optimizer={','.join(chosen)}"] if all(chosen) else None
    parent, _, part = name.rpartition(".")
    ours = ALIASES.get(name) or (ALIASES.get(part) if ALIASES.get(part, "").rpartition(".")[0] == parent else None)
    if ours and not is_known(name):
        options = options_of(ours)
        values = [option_of(options, each) or each for each in values] if options else values
        if options and not set(values) <= set(options):
            return None
        return [f"{ours}={','.join(values) if options else value}"]
    return None


def option_of(options: list[str], name: str) -> str | None:
    """Return the option that was meant: in another case, under another name, or the only one that contains `name`."""
    exact = [option for option in options if option.lower() == OPTION_ALIASES.get(name.lower(), name).lower()]
    containing = [option for option in options if len(name) > 3 and name.lower() in option.lower()]
    found = exact or (containing if len(containing) == 1 else [])
    return found[0] if found else nearest(name, options)


def for_value(error: settings.SettingError) -> str:
    """Return the line for a refused value; it ends with the corrected command if a right value is known."""
    word = word_of(error.name)
    word = word if "=" in word else f"{error.name}={error.value}"
    if right := right_words(error.name, word.partition("=")[2]):
        return f"{word}: no such {error.name}; type: {corrected(word, *right)}"
    if error.name in ("hparams", "optimizer") and error.value != "null":
        return (
            f"{word}: {error.name} is a group of settings, each with a value of its own, such as {EXAMPLES[error.name]}"
        )
    return str(error)


def for_composition(error: Exception, known_settings: Callable[[], Iterable[str]]) -> str:
    """Return the line for what Hydra or OmegaConf refused while it composed the config."""
    text, place = str(error), getattr(error, "full_key", None)
    place = f"{place}: " if place else ""
    if "Could not override ''" in text:
        return f"cannot read {word_of('')!r}: write name=value"
    if setting := re.search(r"Could not (?:override|delete from config\.) '([^'@]+)", text):
        group, _, part = setting[1].rpartition("/")
        if group not in ("", "hydra") and is_group(setting[1]):  # a pool of a network without one
            return f"{setting[1]}: the chosen {group} has no {part}; {group}=... chooses another"
        return for_setting(setting[1], known_settings)
    if there := ALREADY_THERE.search(text):
        name = next(filter(None, there.groups()))
        word = next((word for word in typed if word.startswith("+") and name_of(word) == name), name)
        return f"{word}: + adds a setting, and this one is there already; type: {corrected(word, word.lstrip('+'))}"
    if group := re.search(r"Could not delete '([^']+)'\. No match in the defaults list", text):
        name = group[1].partition("=")[0]
        none = f"{name}={'none' if 'none' in options_of(name) else '[]'}"
        return f"~{group[1]}: a group cannot be removed, but left empty; type: {corrected(f'~{group[1]}', none)}"
    if option := re.search(r"Could not (?:find|load) '([^']+)/([^'/]*)'", text):
        return for_option(option[1], option[2])
    if missing := re.search(r"Interpolation key '([^']+)' not found", text):
        return f"{place}there is no setting {missing[1]}; {LITERAL}"
    if isinstance(error, GrammarParseError) or isinstance(error.__cause__, GrammarParseError):
        return f"{place}cannot read a value with ${{ in it ({first_line(error.__cause__ or error)}); {LITERAL}"
    if failed := re.search(r"raised while resolving interpolation: (.*)", text):
        return f"{place}a ${{...}} has no value ({failed[1]}); {LITERAL}"
    if failed := re.search(r"Error resolving interpolation '(.+)', possible interpolation keys", text):
        return f"{failed[1]}: has no value here; {LITERAL}"
    if sweep := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return for_several_values(sweep[1])
    if (unreadable := getattr(error, "override", None)) is not None:
        return for_unreadable(unreadable)
    if unknown := re.search(r"Unsupported interpolation type (\S*)", text):
        return f"{place}there is no resolver {unknown[1]}; {LITERAL}"
    if single := re.search(r"Sweep parameters '(.+)' requires --multirun", text):
        return for_sweep(single[1])
    if other := re.search(r"Could not delete from config\. The value of '([^']+)' is", text):
        return f"~{other[1]}: has another value; without one, ~{other[1]} removes the setting"
    if merged := re.search(r"Error merging override ([^\s=]+)=", text):
        reason = first_line(error.__cause__ or error).removeprefix(f"Error merging override {merged[1]}=")
        return f"{merged[1]}: cannot have this value ({reason}); `--cfg all` shows what it is"
    if "Primary config directory not found" in text:
        return "--config-path: no such folder; name one with the YAML files of the command, or leave it out"
    if group := re.search(r"config group '([^']*)' does not exist", text):
        return f"{group[1]}: no such group; name@package=option is for groups, and a setting is written name=value"
    return first_line(error) + (f": {first_line(error.__cause__)}" if error.__cause__ else "")


def for_setting(name: str, known_settings: Callable[[], Iterable[str]]) -> str:
    """Return the line for a name that no setting has: the corrected command, the nearest name, or how to add it."""
    if name.startswith("hydra.launcher."):
        return f"{name}: not in this launcher; choose hydra/launcher=joblib, submitit_local, submitit_slurm or ray"
    word = word_of(name)
    if right := right_words(name, word.partition("=")[2]):
        return f"{name}: no such setting; type: {corrected(word, *right)}"
    if name == "hparams.patch_mode":
        return f"{word}: leave it out: of data that are sets already nothing is cut; of images, choose model/selection="
    known = [other for other in known_settings() if other != name]  # a setting of other data or another model
    if close := ALIASES.get(name) or nearest(name, known):
        return f"{name}: no such setting; did you mean {close}? (to add a new one: +{name}=...)"
    parent = name.rpartition(".")[0]
    if parent in known or any(other.startswith(f"{parent}.") for other in known):
        return f"{name}: not set so far; to add it write +{name}=..."
    return f"{name}: no such setting; `--cfg job` shows all of them"


def for_several_values(word: str) -> str:
    """Return the line for a,b without -m: a list where the setting is one, else a sweep."""
    name, _, value = word.partition("=")
    if name in settings.LISTS or takes_list(name.lstrip("+"), value):
        return f"{word}: a list is written in brackets; type: {corrected(word, f'{name}=[{value}]')}"
    return for_sweep(word)


def for_sweep(word: str) -> str:
    """Return the line for several values without -m."""
    if not script.endswith("train.py"):
        return f"{word}: give one value; several are a sweep, and only train.py sweeps"
    return f"{word}: several values are a sweep, which -m starts; type: {corrected(word, word, '-m')}"


def takes_list(name: str, value: str) -> bool:
    """Return whether [value] is what the setting may be."""
    try:
        settings.check_value(name, yaml.safe_load(f"[{value}]"))
    except (UserError, yaml.YAMLError):
        return False
    return name in settings.ROWS and settings.ROWS[name].rule is not None


def for_unreadable(word: str) -> str:
    """Return the line for a word that Hydra's grammar does not read."""
    if not word.strip():
        return "cannot read '': an empty word; leave it out (is a variable of the shell empty?)"
    name, equals, value = word.partition("=")
    if not KEY.fullmatch(name.rstrip(":")):
        return f"cannot read {word!r}: write name=value; no name has such letters"
    if value.startswith("="):
        right = f"{name}={value.lstrip('=')}"
        return f"cannot read {word!r}: one = is enough; type: {corrected(word, right)}"
    if equals and value and value[0] not in "[{'\"":
        return f"cannot read {word!r}: the value needs quotes; type: {corrected(word, f'{name}={quoted(value)}')}"
    place = typed.index(word) if word in typed else len(typed)
    before, after = typed[:place], typed[place + 1 :]
    name = word.removesuffix(":")
    if not equals and is_known(name):
        after = after[1:] if after[:1] == ["="] else after  # name = value
        if after and "=" not in after[0] and not after[0].startswith("-"):
            line = command([*before, f"{name}={after[0]}", *after[1:]])
            return f"cannot read {word!r}: settings are written name=value; type: {line}"
        return f"cannot read {word!r}: write {name}={'|'.join(options_of(name)) or 'VALUE'}"
    if not equals and before and "=" in before[-1]:
        name, _, value = before[-1].partition("=")
        line = command([*before[:-1], f"{name}={quoted(f'{value} {word}')}", *after])
        return f"cannot read {word!r}: if it belongs to {name}, a value with spaces needs quotes: {line}"
    return f"cannot read {word!r}: write name=value, with quotes around a value that is not plain"


def for_unexpected(error: BaseException, words: list[str]) -> str:
    """Return the line for what Hydra does not expect, and so reports without the word that is at fault.

    A group that was given a number or null, a number of thousands of digits, brackets within brackets within brackets.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    for word in reversed(words):
        if word.startswith("-"):
            continue
        try:
            parsed = parser.parse_override(word)
            value = None if parsed.is_delete() else parsed.value()
        except HydraException:
            continue
        except Exception as failure:
            return f"{word}: cannot be read ({_in_words(failure)})"
        options = value if isinstance(value, list) else [value]
        chooses = parsed.package is not None or is_group(parsed.key_or_group)
        if chooses and not parsed.is_delete() and not all(isinstance(option, str) for option in options):
            return for_option(parsed.key_or_group, word.partition("=")[2])
        if chooses and parsed.is_delete() and not isinstance(parsed.value(), str):
            return f"{word}: a group is chosen by one name, {parsed.key_or_group}=NAME; ~ takes no list or number"
    if verbose := [word for word in words if name_of(word) == "hydra.verbose"]:
        return f"{verbose[-1]}: must be true, false, or loggers such as [run,sweep]; verbosity=2 is this project's own"
    return f"the settings cannot be composed ({_in_words(error)}): leave out one after the other to find which"


def _in_words(error: BaseException) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else first_line(error)


def for_option(group: str, option: str) -> str:
    """Return the line for an option that the group does not have: it is the name of no YAML file there."""
    options = options_of(group)
    if not options:
        inside = sorted(path.name for path in (CONFIG / group).glob("*/")) if group else []
        groups = f" (there are the groups {', '.join(f'{group}/{name}' for name in inside)})" if inside else ""
        return f"{group}={option}: no such option{groups}"
    close = (
        "[]"
        if group in settings.LISTS and group != "task" and option in ("none", "null")
        else option_of(options, option)
    )
    hint = f"; did you mean {group}={close}?" if close else ""
    return f"{group}={option}: no such option{hint} (there are {', '.join(options)})"


def for_dashed(name: str, value: str, argv: list[str]) -> str | None:
    """Return the line for `--batch_size 64`, a setting that is typed as an option; None if it is no setting."""
    bare = name.lstrip("-").replace("-", "_")
    known = next((other for other in (f"hparams.{bare}", ALIASES.get(bare, ""), bare) if is_known(other)), None)
    if known is None:
        return None
    right = right_words(bare, value) or [f"{known}={value or '...'}"]
    place = argv.index(name) if name in argv else argv.index(f"{name}={value}")
    line = command([*argv[:place], *right, *argv[place + 1 + (name in argv and value != "") :]])
    return f"{name}: no such option; settings are written name=value; type: {line}"


def _similar_module(module: str, failure: Exception) -> str:
    """Return a hint at a module with a similar name in the same package, if `module` itself does not exist."""
    package, _, leaf = module.rpartition(".")
    if not (package and isinstance(failure, ModuleNotFoundError) and failure.name == module):
        return ""
    siblings = [sibling.name for sibling in pkgutil.iter_modules(importlib.import_module(package).__path__)]
    close = nearest(leaf, siblings)
    return f"; did you mean {package}.{close}?" if close else ""


def for_instantiation(error: BaseException) -> str:
    """Return the line for what a constructor, or the search for a class by its name, refused."""
    text, cause = str(error), error.__cause__
    key = re.search(r"full_key: (\S+)", text)
    where = f"{key[1]}: " if key else ""
    target = re.search(r"Error locating target '([\w.]+)'|Expected a callable target, got '<module '([\w.]+)'", text)
    if target:
        module, _, name = (target[1] or target[2]).rpartition(".")
        try:
            close = nearest(name, [other for other in dir(importlib.import_module(module)) if other[0].isupper()])
        except Exception as failure:  # whatever the module raises while it is imported
            return f"{where}cannot import {module}: {first_line(failure)}" + _similar_module(module, failure)
        return f"{where}{module} has no {name}" + (f"; did you mean {close}?" if close else "")
    line = first_line(cause or error)
    remedy = next((remedy for words, remedy in REMEDIES.items() if words in line), "")
    return f"{where}{line}{remedy}"
