"""Names of wandb that its documentation does not list."""

from contextlib import suppress
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
