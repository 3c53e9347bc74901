"""How wandb is to behave in a training: it asks nothing, says nothing, and looks at nothing by itself."""

import os
from typing import Any

QUIET: dict[str, Any] = {"silent": True, "quiet": True, "console": "off"}
RUN: dict[str, Any] = {
    **QUIET,
    # run.json, source/ and system.csv hold all that; and what git calls origin may contain a password
    "disable_git": True,
    "disable_code": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "init_timeout": 30,  # seconds; the training does not wait
    "finish_timeout_raises": True,
    "x_transaction_log_flush_interval": 2,  # seconds; what `wandb sync` finds where the service was cut off
    "symlink": False,
}


def find_mode(mode: str | None) -> str:
    """`mode`, else WANDB_MODE, else online with a key and offline without; wandb itself would ask on the terminal.

    Raises a RuntimeError where it is online and there is no key.
    """
    import wandb
    from wandb.sdk.lib import wbauth

    mode = mode or os.environ.get("WANDB_MODE")
    if mode in ("offline", "disabled"):
        return mode
    host = wandb.setup().settings.base_url
    if wbauth.authenticate_session(host=host, source="", prompt=False, update_session=False) is not None:
        return mode or "online"
    if mode is not None:
        raise RuntimeError(f"no key for {host}: `wandb login`, WANDB_API_KEY, or loggers.wandb.mode=offline")
    return "offline"
