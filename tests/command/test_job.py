"""The ends of a job, without a training: an error ends a single run's command, but in a sweep only the job."""

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from command import job
from process.errors import PastHydraError, UserError
from process.interruption import Interrupted
from run.sweep_record import refusal


@pytest.fixture
def started(tmp_path, monkeypatch):
    """`started(RunMode.MULTIRUN)` as Hydra starts a job: its config, and its folder."""
    monkeypatch.chdir(tmp_path)

    def start(mode, launcher="hydra._internal.core_plugins.basic_launcher.BasicLauncher"):
        folder = tmp_path / "multirun" / "0"
        folder.mkdir(parents=True, exist_ok=True)
        hydra = {
            "mode": mode,
            "launcher": {"_target_": launcher, "n_jobs": 2},
            "runtime": {"output_dir": str(folder), "cwd": str(tmp_path), "config_sources": []},
            "sweep": {"dir": str(folder.parent)},
            "job": {"num": 0, "id": "0"},
            "overrides": {"task": ["data=digits"]},
        }
        monkeypatch.setattr(HydraConfig.instance(), "cfg", OmegaConf.create({"hydra": hydra}))
        return OmegaConf.create({"resume": None}), folder

    return start


def failing(error):
    @job.job
    def main(config):
        raise error

    return main


def test_alone_the_error_passes_hydra(started):
    config, _ = started(RunMode.RUN)
    error = UserError("choose another")
    with pytest.raises(PastHydraError) as raised:
        failing(error)(config)
    assert raised.value.error is error


def test_in_a_sweep_the_others_go_on_and_the_reason_is_kept(started):
    config, folder = started(RunMode.MULTIRUN)
    assert failing(UserError("choose another"))(config) is None
    assert refusal(folder) == "UserError: choose another"


@pytest.mark.parametrize(("score", "objective"), [(0.5, 0.5), (None, None), (float("nan"), None)])
def test_in_a_sweep_the_score_is_what_a_search_gets(started, score, objective):
    config, _ = started(RunMode.MULTIRUN)
    assert job.job(lambda config: score)(config) == objective


@pytest.mark.parametrize(("score", "objective"), [(0.25, 0.25), ("nan", None)])
def test_a_finished_job_is_not_run_again(started, score, objective):
    import json

    config, folder = started(RunMode.MULTIRUN)
    (folder / "run.json").write_text(json.dumps({"status": "finished", "best_score": score}))
    assert failing(AssertionError("run again"))(config) == objective
    assert refusal(folder) is None


def test_an_interrupted_job_is_resumed(started):
    config, folder = started(RunMode.MULTIRUN)
    (folder / "run.json").write_text('{"status": "interrupted"}')
    (folder / "source").mkdir()
    assert job.job(lambda config: float(config.resume == str(folder)))(config) == 1.0


def test_a_signal_ends_a_serial_sweep_but_only_one_worker(started):
    config, _ = started(RunMode.MULTIRUN)
    with pytest.raises(Interrupted):
        failing(Interrupted(15))(config)
    config, _ = started(RunMode.MULTIRUN, "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher")
    assert failing(Interrupted(15))(config) is None


@pytest.mark.parametrize(
    ("launcher", "serial"), [("Basic", True), ("Joblib1", True), ("Joblib2", False), ("Local", False)]
)
def test_which_launchers_run_one_job_after_the_other(launcher, serial):
    chosen = OmegaConf.create(
        {
            "_target_": f"some.module.{launcher.rstrip('12')}Launcher",
            "n_jobs": int(launcher[-1]) if launcher[-1] in "12" else 1,
        }
    )
    assert job.is_serial(chosen) == serial


def test_the_command_of_a_sweeps_job_runs_it_alone(started):
    _, folder = started(RunMode.MULTIRUN)
    command = job.relaunch_command(HydraConfig.get(), resumed=True)
    assert command[1].endswith("/src/train.py")
    assert command[2:] == [
        "data=digits",
        "hydra.job.num=0",
        "hydra.job.id=0",
        f"resume='{folder}'",
        f"hydra.run.dir='{folder}'",
        "hydra.output_subdir=null",
    ]
