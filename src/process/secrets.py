"""The protection of keys, tokens and passwords: they stay in the environment, out of settings, logs and run folders."""

import logging
import os
import re

from process.errors import UserError

WORDS = "PASSWORD|PASSWD|PASSPHRASE|SECRET|(API|ACCESS|PRIVATE|AUTH)_?KEY"
NAME = re.compile(rf"^(?!.*_(FILE|PATH|ID)$).*(TOKEN|{WORDS})(_|$)", re.I)
# stricter for settings: a network may have a class_token
SETTING = re.compile(rf"^(?!.*_(FILE|PATH|ID)$)((.*(API|ACCESS|AUTH)_)?TOKEN$|.*({WORDS})(_|$))", re.I)
IN_URL = re.compile(r"(?<=://)(?:[^\s/:]*:([^\s/]+)|([^\s/:]{16,}))(?=@)")  # user:password, or a token alone
FROM_ENVIRONMENT = re.compile(r"\$\{oc\.env:\s*(\w+)")
SHORTEST, SURE = 6, 16  # characters: a shorter secret may be a part of ordinary words; one so long cannot be a word


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
        refuse(name.lstrip("+~"), value)


def refuse(name: str, value: str) -> None:
    """Raise a UserError if a setting contains a secret, or fetches one from the environment."""
    named = SETTING.search(name.rpartition(".")[2]) and len(value) >= SHORTEST
    fetched = any(
        NAME.search(variable) or IN_URL.search(os.environ.get(variable, ""))
        for variable in FROM_ENVIRONMENT.findall(value)
    )
    known = any(len(secret) >= SURE and secret in value for secret in _secrets())
    if named or fetched or known or IN_URL.search(value):
        raise UserError(
            f"{scrub(name)}=***: a secret, and settings are written to files: set it in the environment, or in .env "
            "(.env.default lists WANDB_API_KEY and the others)"
        )


def _secrets() -> set[str]:
    named = (value for name, value in os.environ.items() if NAME.search(name))
    in_urls = (found[1] or found[2] for value in os.environ.values() for found in IN_URL.finditer(value))
    return {value for value in (*named, *in_urls) if len(value) >= SHORTEST}
