"""Private names of pytorch_lightning, and what works around its cost per step."""

import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line imports this file, and must not wait for torch
    from pytorch_lightning import Trainer

HOOK_NAME = "_current_fx_name"  # an attribute of LightningModule


def logged_step(trainer: "Trainer") -> int:
    """Return the number of batches that made an optimizer step: the axis of all that Lightning logs."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def start_ranks_with(command: list[str], folder: str, observe: Callable[[list[subprocess.Popen[bytes]]], None]) -> None:
    """Have Lightning start ranks by this command in this working directory, and pass their processes to `observe`.

    Lightning's own command would start the whole sweep again, and its own observer kills this process at most 5 s after
    another one ends, before a run can record why.
    """
    from pytorch_lightning.strategies.launchers import subprocess_script

    launcher: Any = subprocess_script
    launcher._hydra_subprocess_cmd = lambda local_rank: (command, folder)
    launcher._launch_process_observer = observe
