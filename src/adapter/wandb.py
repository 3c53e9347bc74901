"""Names of wandb that its documentation does not list."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


def has_key(host: str) -> bool:
    """Return whether there is an API key for this server: in the environment, or from `wandb login`. Never prompts."""
    from wandb.sdk.lib import wbauth

    return wbauth.authenticate_session(host=host, source="", prompt=False, update_session=False) is not None


def cancel_exit_wait() -> None:
    """Unregister wandb's own exit function, which waits for its service process; that ends with this process."""
    from wandb.sdk import wandb_setup

    with suppress(AttributeError):  # another version of wandb: then it waits
        connection: Any = wandb_setup.singleton()._connection
        if connection is not None:
            connection._cleanup()


@contextmanager
def started_at(seconds: float) -> Iterator[None]:
    """Have wandb.init in the block record this start of the run, in seconds since 1970; it takes the time of the call.

    The duration of the run, which wandb's service counts, begins with the call nevertheless.
    """
    from wandb.sdk.wandb_run import Run

    begin = Run.__init__

    def begin_earlier(run: Run, *arguments: Any, **options: Any) -> None:
        begin(run, *arguments, **options)
        run._start_time = seconds

    Run.__init__ = begin_earlier  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Run.__init__ = begin  # type: ignore[assignment, method-assign]
