"""Keys, tokens and passwords stand in the environment alone: never in a setting, a log or a run folder."""

import logging
import os
import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from process.errors import UserError

WORDS = "PASSWORD|PASSWD|PASSPHRASE|SECRET|(API|ACCESS|PRIVATE|AUTH)_?KEY"
NAME = re.compile(rf"^(?!.*_(FILE|PATH|ID)$).*(TOKEN|{WORDS})(_|$)", re.I)
# of settings fewer: a network may have a class_token
SETTING = re.compile(rf"^(?!.*_(FILE|PATH|ID)$)((.*(API|ACCESS|AUTH)_)?TOKEN$|.*({WORDS})(_|$))", re.I)
IN_URL = re.compile(r"(?<=://)(?:[^\s/:]*:([^\s/]+)|([^\s/:]{16,}))(?=@)")  # user:password, or a token alone
FROM_ENVIRONMENT = re.compile(r"\$\{oc\.env:\s*(\w+)")
SHORTEST, SURE = 6, 16  # characters: what is shorter stands in other words; what is so long is no word


class Formatter(logging.Formatter):
    """What is logged, tracebacks included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record))


def scrub(text: str) -> str:
    """`text` with *** for the values of secret environment variables, and for user and password in URLs."""
    for secret in sorted(_secrets(), key=len, reverse=True):  # one may be a part of another
        text = text.replace(secret, "***")
    return IN_URL.sub("***", text)


def refuse_in_arguments(argv: list[str]) -> None:
    """Raise a UserError for a secret on the command line, which Hydra would write down."""
    for argument in argv:
        name, _, value = argument.partition("=")
        _refuse(name.lstrip("+~"), value)


def refuse_in_config(config: DictConfig) -> None:
    """The same for a secret in a YAML file, or fetched from the environment by one."""
    for name, value in _texts(OmegaConf.to_container(config, resolve=False)):
        _refuse(name, value)


def _refuse(name: str, value: str) -> None:
    named = SETTING.search(name.rpartition(".")[2]) and len(value) >= SHORTEST
    fetched = any(
        NAME.search(variable) or IN_URL.search(os.environ.get(variable, ""))
        for variable in FROM_ENVIRONMENT.findall(value)
    )
    known = any(len(secret) >= SURE and secret in value for secret in _secrets())
    if named or fetched or known or IN_URL.search(value):
        raise UserError(
            f"{scrub(name)}=***: a secret, and settings are written down: set it in the environment, or in .env "
            "(.env.default lists WANDB_API_KEY and the others)"
        )


def _secrets() -> set[str]:
    named = (value for name, value in os.environ.items() if NAME.search(name))
    in_urls = (found[1] or found[2] for value in os.environ.values() for found in IN_URL.finditer(value))
    return {value for value in (*named, *in_urls) if len(value) >= SHORTEST}


def _texts(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The dotted names and values of all texts in a config."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _texts(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value, prefix)
    elif isinstance(node, str):
        yield prefix, node
