"""The one exception for what the user can mend."""

from omegaconf.errors import OmegaConfBaseException


class UserError(Exception):
    """A mistake in the command, the config or the data: one line that says what is wrong and what to do.

    Jobs raise it; only run.cli, the outermost layer, prints the line and exits with 1.
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
