"""One line with the remedy, for what Hydra says in several. Knows Hydra's words, not Hydra."""

import importlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from process.errors import first_line, nearest

REMEDIES = {  # by the words of the library that refuses
    "No supported gpu backend found": " torch sees no GPU (nvidia-smi tells more); without one: trainer=cpu",
}


def for_composition(error: Exception, config: Path, known_settings: Callable[[], list[str]]) -> str:
    """What the composition of the config refused; `config` is the folder of the groups."""
    text = str(error)
    if setting := re.search(r"Could not (?:override|delete from config\.) '([^'@]+)", text):
        if (
            "/" in setting[1] and (config / setting[1]).is_dir()
        ):  # a group, but not of what was chosen: a pool of a network without one
            group, _, part = setting[1].rpartition("/")
            return f"{setting[1]}: the chosen {group} has no {part}; {group}=... chooses another"
        return for_setting(setting[1], known_settings())
    if option := re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", text):
        return for_option(option[1], option[2], sorted(path.stem for path in (config / option[1]).glob("*.yaml")))
    if missing := re.search(r"Interpolation key '([^']+)' not found", text):
        place = getattr(error, "full_key", None)
        where = f"{place}: " if place else ""
        return f"{where}there is no setting {missing[1]}; a ${{ of the text itself is written \\${{"
    if sweep := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return f"{sweep[1]}: several values are a sweep, which -m starts; a list is written [a,b]"
    if unreadable := getattr(error, "override", None):
        return f"cannot read {unreadable!r}: write name=value, with quotes around a value that is not plain"
    return first_line(error) + (f": {first_line(error.__cause__)}" if error.__cause__ else "")


def for_setting(name: str, known: Iterable[str]) -> str:
    """`name` is no setting: the nearest one, or how to add a new one."""
    if name.startswith("hydra.launcher."):
        return f"{name}: not of the chosen launcher; hydra/launcher=joblib, submitit_local, submitit_slurm, ray"
    known = [other for other in known if other != name]  # a setting of other data or another model
    close = nearest(name, known)
    if close:
        return f"{name}: no such setting; did you mean {close}? (to add a new one: +{name}=...)"
    parent = name.rpartition(".")[0]
    if parent in known or any(other.startswith(f"{parent}.") for other in known):
        return f"{name}: not set so far; to add it write +{name}=..."
    return f"{name}: no such setting; `--cfg job` shows all of them"


def for_no_name(error: Exception, config: Path, arguments: list[str]) -> str | None:
    """A group was given null, a truth value or a number; Hydra does not say which."""
    if "Config group override must be a string" not in str(error):
        return None
    for argument in reversed(arguments):
        group, _, value = argument.lstrip("+").partition("=")
        if (config / group).is_dir() and re.fullmatch(r"null|true|false|[-+.\d]+", value, re.IGNORECASE):
            return for_option(group, value, sorted(path.stem for path in (config / group).glob("*.yaml")))
    return None


def for_option(group: str, option: str, options: list[str]) -> str:
    """`option` is no YAML file of the group."""
    close = nearest(option, options)
    words = f"; did you mean {group}={close}?" if close else ""
    return f"{group}={option}: no such option{words} (there are {', '.join(options)})"


def for_instantiation(error: BaseException) -> str:
    """What a constructor, or the search for a class by its name, refused."""
    text, cause = str(error), error.__cause__
    key = re.search(r"full_key: (\S+)", text)
    where = f"{key[1]}: " if key else ""
    target = re.search(r"Error locating target '([\w.]+)'|Expected a callable target, got '<module '([\w.]+)'", text)
    if target:
        module, _, name = (target[1] or target[2]).rpartition(".")
        try:
            close = nearest(name, [other for other in dir(importlib.import_module(module)) if other[0].isupper()])
        except ImportError:
            return f"{where}cannot import {module}: {first_line(cause or error)}"
        return f"{where}{module} has no {name}" + (f"; did you mean {close}?" if close else "")
    line = first_line(cause or error)
    remedy = next((remedy for words, remedy in REMEDIES.items() if words in line), "")
    return f"{where}{line}{remedy}"
