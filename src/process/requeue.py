"""The requeueing of submitit jobs: after a signal a job saves, and is queued again and resumed, or ends for good."""

import logging
import os
import signal
import subprocess
from pathlib import Path

from process.interruption import Interrupted

log = logging.getLogger(__name__)


def in_submitit() -> bool:
    """Return whether this process is a submitit job, whose handler of SIGUSR2 queues the job again."""
    return "SUBMITIT_EXECUTOR" in os.environ and callable(signal.getsignal(signal.SIGUSR2))


def requeue_after(interrupted: Interrupted, stop: Path) -> None:
    """End the process if the job will be started again; return if it has ended for good.

    SIGUSR2 announces the time limit. SIGTERM comes from `scontrol requeue` or a preemption, after which SLURM starts
    the job again; from scancel; or as the warning before a preemption.

    Args:
        interrupted: the signal that ended the job.
        stop: a file that exists if the whole sweep shall end.
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
            handler(signal.SIGUSR2, None)  # submitit's handler exits
        except Exception as error:  # beyond submitit's max_num_timeout, or where requeueing is forbidden
            log.error(f"not queued again: {error}")


def _state() -> str | None:
    """Return SLURM's state of this job, `requeued` if SLURM itself will start it again; None outside of SLURM."""
    if os.environ["SUBMITIT_EXECUTOR"] != "slurm":
        return None
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
    shown = subprocess.run(["scontrol", "--oneliner", "show", "job", job], check=False, capture_output=True, text=True)
    facts = dict(word.partition("=")[::2] for word in shown.stdout.split())
    restarts = int(facts.get("Restarts", 0)) > int(os.environ.get("SLURM_RESTART_COUNT", 0))
    return "requeued" if restarts else facts.get("JobState")
