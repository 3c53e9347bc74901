"""Private names of Hydra, and of the argparse parser that it makes."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import configure_log, run_job
from omegaconf import DictConfig

RUN_JOB: CodeType = run_job.__code__
MKDIR: CodeType = Path.mkdir.__code__
COMPOSES = {each.__code__ for each in (ConfigLoaderImpl.load_configuration, OverridesParser.parse_rule, configure_log)}

if sys.version_info >= (3, 14):  # argparse checks the help text of each option; one of Hydra's is not a str
    check_help = argparse.ArgumentParser._check_help

    def check_text(self: argparse.ArgumentParser, action: argparse.Action) -> None:
        if isinstance(action.help, str):
            check_help(self, action)

    argparse.ArgumentParser._check_help = check_text


def option_names() -> list[str]:
    """Return all spellings of the options that Hydra takes: --multirun, -m, ..."""
    return [*get_args_parser()._option_string_actions]


def parse_options(argv: list[str]) -> dict[str, Any]:
    """Return Hydra's options by name. Raises a ValueError with argparse's words, where argparse would exit."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise ValueError(message)

    parser.error = refuse  # type: ignore[method-assign]
    return vars(parser.parse_args(argv))


def apply_overrides(overrides: list[Override], config: DictConfig) -> None:
    """Apply overrides that choose no option of a group to a composed config, as Hydra does."""
    ConfigLoaderImpl._apply_overrides_to_config(overrides, config)


def while_composing(error: BaseException) -> bool:
    """Return whether an error comes out of Hydra's parser, composition or logging: a word is at fault."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code not in COMPOSES:
        frame = frame.tb_next
    return frame is not None


def while_making_folder(error: BaseException) -> bool:
    """Return whether an error comes out of the making of a folder by Hydra itself: that of a run or of a sweep."""
    above, frame = "", error.__traceback__
    while frame is not None and frame.tb_frame.f_code is not MKDIR:
        above, frame = frame.tb_frame.f_globals.get("__name__", ""), frame.tb_next
    return frame is not None and above.partition(".")[0] in ("hydra", "hydra_plugins")


def inside_job(error: Exception) -> Exception:
    """Cut Hydra's own frames, those above the command's function, off the traceback."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code is not RUN_JOB:
        frame = frame.tb_next
    return error.with_traceback(frame.tb_next) if frame is not None and frame.tb_next is not None else error


@contextmanager
def shared_repository() -> Iterator[None]:
    """Read each YAML once within the block, in which --help or TAB asks the same loader for the options of every group.

    Without it Hydra makes a new repository of configs for each of these questions.
    """
    make = ConfigLoaderImpl._parse_overrides_and_create_caching_repo
    made: dict[tuple[Any, ...], Any] = {}

    def make_once(self: ConfigLoaderImpl, config_name: str | None, overrides: list[str]) -> Any:
        question = id(self), config_name, tuple(overrides)
        if question not in made:
            made[question] = make(self, config_name, overrides)
        return made[question]

    ConfigLoaderImpl._parse_overrides_and_create_caching_repo = make_once  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl._parse_overrides_and_create_caching_repo = make  # type: ignore[method-assign]


@contextmanager
def passing_configs_to(examine: Callable[[DictConfig], None]) -> Iterator[None]:
    """Pass each config that Hydra composes within the block to `examine`, before Hydra uses anything in it.

    The search path in a primary config is not followed: its packages would be imported before that.
    """
    load, follow = ConfigLoaderImpl.load_configuration, ConfigLoaderImpl._process_config_searchpath

    def load_examined(self: ConfigLoaderImpl, *arguments: Any, **options: Any) -> DictConfig:
        config = load(self, *arguments, **options)
        examine(config)
        return config

    ConfigLoaderImpl.load_configuration = load_examined  # type: ignore[method-assign]
    ConfigLoaderImpl._process_config_searchpath = lambda *_: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = load  # type: ignore[method-assign]
        ConfigLoaderImpl._process_config_searchpath = follow  # type: ignore[method-assign]
