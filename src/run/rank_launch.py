"""The ranks that Lightning's launcher starts on this machine: each runs this one job, also out of a sweep."""

import os
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any


def use(command: list[str], folder: str, seen: Callable[[list[subprocess.Popen[bytes]]], None]) -> None:
    """Have Lightning start ranks by this command, in this working directory, and give their processes to `seen`.

    Its own command would start the whole sweep again, and its own observer kills this process after 5 s at most
    when another one ends, before a run can record why.
    """
    from pytorch_lightning.strategies.launchers import subprocess_script

    launcher: Any = subprocess_script
    launcher._hydra_subprocess_cmd = lambda local_rank: (command, folder)
    launcher._launch_process_observer = seen


def end(children: list[subprocess.Popen[bytes]], seconds: float) -> None:
    """Wait for them so long; then they are killed: a rank that waits for another on a GPU hears no signal."""
    until = time.monotonic() + seconds
    for child in children:
        try:
            child.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def end_with_parent(seconds: float) -> None:
    """Have this process end within `seconds` after the one that started it, however that one ends."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        time.sleep(seconds)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
