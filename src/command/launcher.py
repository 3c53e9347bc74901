"""Which of Hydra's launchers runs the jobs of a sweep: told by the class that hydra/launcher names."""

from typing import Any

BASIC, JOBLIB, LOCAL = "BasicLauncher", "JoblibLauncher", "LocalLauncher"  # basic, joblib, submitit_local


def kind(launcher: Any) -> str:
    """BASIC, JOBLIB, LOCAL or another class."""
    return str(launcher._target_.rpartition(".")[2])


def workers(launcher: Any) -> int:
    """How many jobs run at a time with BASIC or JOBLIB."""
    if kind(launcher) == BASIC:
        return 1
    from joblib import effective_n_jobs

    return int(effective_n_jobs(launcher.n_jobs))


def is_serial(launcher: Any) -> bool:
    """Whether jobs run one after the other in the process of the sweep."""
    return kind(launcher) in (BASIC, JOBLIB) and workers(launcher) == 1
