"""Private names of Hydra's launchers: without these changes one job whose process is killed ends a whole sweep."""

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

# of execute_job, which a worker of joblib calls: number, overrides, Hydra's context, config, function, singletons
Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def run_joblib_with(run: Callable[[list[Call], int], list[Any]]) -> None:
    """Have hydra/launcher=joblib call `run(calls, n_jobs)` for the results of its jobs, instead of joblib.Parallel."""
    from hydra_plugins.hydra_joblib_launcher import _core
    from joblib import effective_n_jobs

    def parallel(n_jobs: int, **_: Any) -> Callable[[Iterable[Call]], list[Any]]:
        return lambda calls: run(list(calls), effective_n_jobs(n_jobs))

    _core.Parallel = parallel


def folder_settings(call: Call) -> tuple[str, str]:
    """Return hydra.sweep.dir and hydra.sweep.subdir of a job of joblib, composed as execute_job does."""
    from omegaconf import open_dict

    number, overrides, context, config, *_ = call[1]
    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(composed):
        composed.hydra.job.num = number
    return composed.hydra.sweep.dir, composed.hydra.sweep.subdir


def wait_for_submitit_with(result: Callable[[Callable[[], Any]], Any]) -> None:
    """Have submitit's launchers call `result(get)` for each job; `get()` raises for a lost one."""
    from submitit.core.core import Job

    get = Job.results
    Job.results = lambda self: [result(lambda: get(self)[0])]  # type: ignore[method-assign, assignment]


def wait_for_ray_with(result: Callable[[Callable[[], Any]], Any]) -> None:
    """Have Ray's launcher call `result(get)` for each job; `get()` raises for a lost one."""
    import ray
    from hydra_plugins.hydra_ray_launcher import _core

    _core.ray = SimpleNamespace(get=lambda run: result(lambda: ray.get(run)))  # type: ignore[assignment]
