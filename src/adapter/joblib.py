"""Private names of joblib, whose executor of processes (loky) the workers of a sweep are."""

import re
from typing import Any

SIGNALS = re.compile(r"\{(\w+)\((-?\d+)\)")  # {SIGKILL(-9)} in the message about a worker that ended


def new_worker(n_jobs: int) -> Any:
    """Return an executor with one process, which has its share of the cores as threads, as in joblib.Parallel."""
    from joblib._parallel_backends import LokyBackend
    from joblib.externals.loky import ProcessPoolExecutor

    return ProcessPoolExecutor(1, env=LokyBackend()._prepare_worker_env(n_jobs))


def describe_end(error: Exception) -> str:
    """Return `was killed by SIGKILL` or `ended with exit code 1` from the executor's error about its process."""
    found = SIGNALS.search(str(error))
    if found is None:
        return "ended unexpectedly"
    name, code = found.groups()
    return f"was killed by {name}" if int(code) < 0 else f"ended with exit code {code}"
