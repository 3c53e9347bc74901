"""The private names of Hydra's launchers: each test fails by the name that moved."""

from importlib import import_module
from inspect import getsource, signature

import pytest

from adapter import hydra_launchers


def test_joblib_parallel_is_what_the_launcher_calls(monkeypatch):
    core = import_module("hydra_plugins.hydra_joblib_launcher._core")
    monkeypatch.setattr(core, "Parallel", core.Parallel)  # restored
    hydra_launchers.run_joblib_with(lambda calls, n_jobs: [n_jobs, *calls])
    calls = core.Parallel(n_jobs=2, backend="loky", batch_size=1)(core.delayed(len)(word) for word in ("a", "b"))
    assert calls == [2, (len, ("a",), {}), (len, ("b",), {})]
    assert core.Parallel(n_jobs=-1, backend="loky")([])[0] >= 1
    assert "Parallel(**joblib_cfg)(" in getsource(core.launch)
    names = ["idx", "overrides", "hydra_context", "config", "task_function", "singleton_state"]
    assert list(signature(core.execute_job).parameters) == names


def test_submitit_results_are_what_the_launchers_wait_for(monkeypatch):
    core, launcher = import_module("submitit.core.core"), import_module("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setattr(core.Job, "results", lambda self: [self])
    hydra_launchers.wait_for_submitit_with(lambda get: ("waited", get()))
    assert core.Job.results("job") == [("waited", "job")]
    source = getsource(import_module(f"{launcher.__name__}.submitit_launcher").BaseSubmititLauncher.launch)
    assert "[j.results()[0] for j in jobs]" in source


def test_ray_get_is_what_the_launcher_waits_for(monkeypatch):
    pytest.importorskip("ray")
    core = import_module("hydra_plugins.hydra_ray_launcher._core")
    monkeypatch.setattr(core, "ray", core.ray)  # restored
    hydra_launchers.wait_for_ray_with(lambda get: "waited")
    assert core.ray.get("run") == "waited"
    source = getsource(core.launch)
    assert "[ray.get(run) for run in runs]" in source
    assert source.count("ray.") == 1
