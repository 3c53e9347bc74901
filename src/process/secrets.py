"""The protection of keys, tokens and passwords: they stay in the environment, out of settings, logs and run folders."""

import logging
import os
import re
from collections.abc import Iterable
from typing import Any

from process.errors import UserError

WORDS = "PASSWORD|PASSWD|PASSPHRASE|SECRET|(API|ACCESS|PRIVATE|AUTH)_?KEY"
NAME = re.compile(rf"^(?!.*_(FILE|PATH|ID)$).*(TOKEN|{WORDS})(_|$)", re.I)
# stricter for settings: a network may have a class_token
SETTING = re.compile(rf"^(?!.*_(FILE|PATH|ID)$)((.*(API|ACCESS|AUTH)_)?TOKEN$|.*({WORDS})(_|$))", re.I)
IN_URL = re.compile(r"(?<=://)(?:[^\s/:]*:([^\s/]+)|([^\s/:]{16,}))(?=@)")  # user:password, or a token alone
HOLDER = re.compile(rf"(^|.*_)({WORDS})S?$", re.I)  # a node whose values are secrets
IN_BRACES = re.compile(  # {name: value} in an argument
    r"[{,]\s*['\"]?([\w.]+)['\"]?\s*:\s*('[^']*'|\"[^\"]*\"|[^,{}\[\]]*)"
)
FROM_ENVIRONMENT = re.compile(r"\boc\.env\s*:[\s'\"\\]*(\w*)(\$\{)?")
COMPUTED = re.compile(r"\$\{[\s\w.]*\$\{[^{}]*\}[\w.]*\s*:")  # a resolver whose name is an interpolation
SHORTEST, SURE = 6, 16  # characters: a shorter secret may be a part of ordinary words; one so long cannot be a word


class SecretError(UserError):
    """A setting that contains a secret, which the message does not show."""


class Formatter(logging.Formatter):
    """A log formatter that removes secrets from messages and tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record))


def scrub(text: str) -> str:
    """Replace the values of secret environment variables, and user and password in URLs, by ***."""
    for secret in sorted(_secrets(), key=len, reverse=True):  # the longest first: one may be a part of another
        text = text.replace(secret, "***")
    return IN_URL.sub("***", text)


def refuse_in_arguments(argv: list[str]) -> None:
    """Raise a UserError for a secret on the command line, which Hydra would write to a file."""
    for argument in argv:
        name, _, value = argument.partition("=")
        name = name.lstrip("+~")
        refuse([(name, value), *((f"{name}.{key}", each.strip("'\"")) for key, each in IN_BRACES.findall(value))])


def refuse(settings: Iterable[tuple[str, Any]]) -> None:
    """Raise a UserError for a setting (name, value) that contains a secret or fetches one from the environment."""
    known = [secret for secret in _secrets() if len(secret) >= SURE]
    for name, value in settings:
        text = str(value) if isinstance(value, str) or type(value) is int else ""
        if _is_named(name, text) or _is_fetched(name, text) or any(s in f"{name}={text}" for s in known):
            raise SecretError(
                f"{scrub(name)}=***: a secret, and settings are written to files: set it in the environment, or in "
                ".env (.env.default lists WANDB_API_KEY and the others)"
            )


def _is_named(name: str, text: str) -> bool:
    """Return whether the text is a URL with a password, or belongs to a setting that is named like a secret."""
    *nodes, last = name.split(".")
    is_secret = SETTING.search(last) or (last[:1] != "_" and any(map(HOLDER.match, nodes)))
    is_value = len(text) >= SHORTEST and text[0] != "{"  # in an argument: settings, each with its own name
    return bool(is_secret and is_value) or IN_URL.search(text) is not None


def _is_fetched(name: str, text: str) -> bool:
    """Return whether the text fetches a secret. Raises a UserError if it computes which variable it fetches."""
    if "${" not in text:
        return False
    variables = FROM_ENVIRONMENT.findall(text)
    if COMPUTED.search(text) or any(computed or not variable for variable, computed in variables):
        raise UserError(f"{name}={text}: write the name of the environment variable out, as in ${{oc.env:DATASET}}")
    return any(NAME.search(variable) or IN_URL.search(os.environ.get(variable, "")) for variable, _ in variables)


def _secrets() -> set[str]:
    named = (value for name, value in os.environ.items() if NAME.search(name))
    in_urls = (found[1] or found[2] for value in os.environ.values() for found in IN_URL.finditer(value))
    return {value for value in (*named, *in_urls) if len(value) >= SHORTEST}
