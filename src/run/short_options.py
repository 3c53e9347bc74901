"""`--lr 0.1` for hparams.lr=0.1: short options of train.py, which config/short_options.yaml declares."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

import yaml
from hydra._internal.utils import get_args_parser

from run.errors import UserError
from run.source import REPOSITORY

SHOWN_BY_CFG = ("job", "hydra", "all")  # -c with one of these is Hydra's --cfg


@dataclass(frozen=True)
class ShortOption:
    """`word` stands for what follows the option, in each of the settings."""

    name: str
    word: str
    settings: tuple[str, ...]

    def given(self, value: str) -> list[str]:
        return [setting.replace(self.word, value) for setting in self.settings]


def declared() -> dict[str, ShortOption]:
    lines = yaml.safe_load((REPOSITORY / "config" / "short_options.yaml").read_text(encoding="utf-8"))
    parts = [(*option.split(), tuple(settings.split())) for option, settings in lines.items()]
    return {name: ShortOption(name, word, settings) for name, word, settings in parts}


def described() -> str:
    """A line for each, for --help."""
    rows = [(f"{option.name} {option.word}", " ".join(option.settings)) for option in declared().values()]
    width = max(len(usage) for usage, _ in rows)
    return "\n  ".join(f"{usage:<{width}}   {settings}" for usage, settings in rows)


def expanded(argv: list[str]) -> list[str]:
    """The settings in place of short options, `--lr 0.1` or `--lr=0.1`; refuses options that nobody knows."""
    options, words = declared(), iter(argv)
    return [setting for word in words for setting in _settings(word, words, options)]


def refuse(argv: list[str]) -> None:
    """For the commands that have none."""
    for name in (word.partition("=")[0] for word in argv):
        if name in declared() and name != "-c":
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
