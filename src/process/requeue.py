"""A job of submitit that is told to end: once it has saved, it is queued again and resumed, or ends for good."""

import logging
import os
import signal
import subprocess
from pathlib import Path

from process.interruption import Interrupted

log = logging.getLogger(__name__)


def in_submitit() -> bool:
    """Whether this process is a job of submitit, which installs a handler of SIGUSR2 that queues the job again."""
    return "SUBMITIT_EXECUTOR" in os.environ and callable(signal.getsignal(signal.SIGUSR2))


def after(interrupted: Interrupted, stop: Path) -> None:
    """Ends the process where the job will be started again; returns where it ends for good.

    SIGUSR2 announces the time limit. SIGTERM comes by `scontrol requeue` or a preemption, after which SLURM itself
    starts the job again; by scancel; or as the warning of a preemption. `stop` is there when the sweep is to end.
    """
    if stop.exists():
        return
    state = _state()
    if state == "requeued":
        raise interrupted
    if interrupted.signum == signal.SIGUSR2 or state == "RUNNING":
        handler = signal.getsignal(signal.SIGUSR2)
        assert callable(handler)
        try:
            handler(signal.SIGUSR2, None)  # which exits
        except Exception as error:  # after max_num_timeout time limits, or where nothing may be queued again
            log.error(f"not queued again: {error}")


def _state() -> str | None:
    """What SLURM thinks of this job, `requeued` if it will start it again by itself; None elsewhere."""
    if os.environ["SUBMITIT_EXECUTOR"] != "slurm":
        return None
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
    shown = subprocess.run(["scontrol", "--oneliner", "show", "job", job], check=False, capture_output=True, text=True)
    facts = dict(word.partition("=")[::2] for word in shown.stdout.split())
    restarts = int(facts.get("Restarts", 0)) > int(os.environ.get("SLURM_RESTART_COUNT", 0))
    return "requeued" if restarts else facts.get("JobState")
