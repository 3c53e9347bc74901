"""The one exception for what the user can mend, and what its line is made of."""

import difflib
from collections.abc import Iterable

from omegaconf.errors import OmegaConfBaseException


class UserError(Exception):
    """A mistake in the command, the config or the data: one line that says what is wrong and what to do.

    Jobs raise it; only command.cli, the outermost layer, prints the line and exits with 1.
    """


class PastHydraError(BaseException):
    """Carries an error past Hydra, which would print or swallow it; no Exception, so it ends a run or a sweep."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def find_user_error(error: BaseException) -> UserError | None:
    """The UserError that `error` is or was raised from (OmegaConf wraps what its resolvers raise), if any."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__ or (cause.__context__ if isinstance(cause, OmegaConfBaseException) else None)
    return cause


def nearest(name: str, known: Iterable[str]) -> str | None:
    by_lower = {other.lower(): other for other in known}
    if f"hparams.{name}".lower() in by_lower:  # batch_size: what people sweep comes before data.batch_size
        return by_lower[f"hparams.{name}".lower()]
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    return by_lower[close[0]] if close else None


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
