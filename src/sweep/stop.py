"""The wish of a sweep's own process that its jobs end, for workers on any machine: a file in the sweep's folder."""

import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from process.interruption import Interrupted

NAME = ".stop"
INTERVAL = 1.0  # seconds


def ask(folder: Path) -> None:
    """Jobs that run end themselves; those that wait in SLURM's queue are taken out of it."""
    (folder / NAME).touch()
    if shutil.which("scancel") and (
        queued := {path.name.partition("_")[0] for path in folder.glob(".submitit/*/*_submission.sh")}
    ):
        subprocess.run(["scancel", "--state=PENDING", *queued], check=False, capture_output=True)


def allow(folder: Path) -> None:
    (folder / NAME).unlink(missing_ok=True)


def heed(folder: Path) -> None:
    """In a worker: from now on end the job that runs as SIGTERM would; begin none where that is asked already.

    A worker of joblib does the same when the sweep's own process is gone, and ends: it would wait for ever.
    """
    path = folder / NAME
    if path.exists():
        raise Interrupted(signal.SIGTERM)
    if path not in _heeded:
        _heeded.add(path)
        threading.Thread(target=_watch, args=(path, os.getppid()), name="stop", daemon=True).start()


_heeded: set[Path] = set()


def _watch(path: Path, parent: int) -> None:
    while not path.exists() and os.getppid() == parent:
        time.sleep(INTERVAL)
    os.kill(os.getpid(), signal.SIGTERM)
    while os.getppid() == parent or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # the job still saves
        time.sleep(INTERVAL)
    os._exit(128 + signal.SIGTERM)
