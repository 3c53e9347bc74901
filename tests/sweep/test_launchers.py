"""One sweep wherever its jobs run: the same metrics; one that fails ends alone."""

import os
import signal
from importlib.util import find_spec

import pytest
import slurm
from module_run import trained
from runs import record
from sweeps import TINY, start, statuses, sweep_in

pytestmark = pytest.mark.processes

SWEEP = (*TINY, "model=patch_set", "hparams.pool=[absent],[mean]", "trainer=cpu")  # there is no such pool
OPTIONS = {"submitit_slurm": ("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The second job, as a run of its own."""
    return trained(tmp_path_factory.mktemp("alone"), *(option.replace("[absent],", "") for option in SWEEP))


@pytest.fixture
def launcher(request, tmp_path_factory, monkeypatch):
    """Its options, and what it needs."""
    if request.param == "ray":
        if find_spec("ray") is None:
            pytest.skip("Ray is not installed")
        folder = tmp_path_factory.mktemp("ray")
        monkeypatch.setenv("HOME", str(folder))  # where it keeps a token
    if request.param != "submitit_slurm":
        yield (f"hydra/launcher={request.param}",)
        return
    if why := slurm.missing():
        pytest.skip(why)
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield (f"hydra/launcher={request.param}", *OPTIONS[request.param])


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "submitit_slurm", "ray"], indirect=True)
def test_the_same_metrics_and_one_that_fails_ends_alone(launcher, alone, command, tmp_path, capfd):
    capfd.readouterr()
    assert command("train", *SWEEP, *launcher, "-m") == 1
    sweep = sweep_in(tmp_path)
    assert statuses(sweep) == ["failed", "finished"]
    assert (sweep / "1" / "metrics.csv").read_bytes() == (alone / "metrics.csv").read_bytes()
    assert record(sweep / "1")["best_score"] == record(alone)["best_score"]
    said = capfd.readouterr()
    assert "no such reduction: 'absent'" in record(sweep / "0")["error"]
    assert "error: 1 of 2 jobs did not finish; remaining jobs: python src/train.py resume_sweep=" in said.err
    for word in ("Traceback", "Warning", "WARNING"):
        assert word not in said.out + said.err


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "submitit_slurm"], indirect=True)
def test_a_job_whose_process_is_killed_is_lost_alone(launcher, command, tmp_path, capfd):
    fault = ("+callbacks.fault._target_=faults.Signal", "+callbacks.fault.name=SIGKILL", "+callbacks.fault.batch=1,99")
    assert command("train", *TINY, "trainer=cpu", *fault, *launcher, "-m") == 1
    sweep = sweep_in(tmp_path)
    assert record(sweep / "1")["status"] == "finished"
    said = capfd.readouterr()
    assert "error: 1 of 2 jobs did not finish; remaining jobs: python src/train.py resume_sweep=" in said.err
    joblib = launcher[0] == "hydra/launcher=joblib"  # whose pool knows how a worker ended
    how = "its process was killed by SIGKILL" if joblib else "it ended without an error message: killed"
    assert f"#0 failed: {how}" in said.err
    assert record(sweep / "0")["status"] == ("failed" if joblib else "running")
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize("launcher", ["submitit_local"], indirect=True)
def test_ctrl_c_at_the_terminal_reaches_every_process_and_all_of_them_save(launcher, tmp_path):
    options = (*TINY, "trainer=cpu", "hparams.max_epochs=10000", "hparams.seed=range(3)", "hydra.sweep.dir=mine")
    sweep = tmp_path / "mine"
    sweep.mkdir()
    with start(tmp_path, *options, *launcher, "-m", new_session=True) as process:
        saved = "*/checkpoints/last.ckpt"
        slurm.wait(lambda: len([*sweep.glob(saved)]) == 2 or process.poll() is not None, "two of them train")
        os.killpg(process.pid, signal.SIGINT)
        said = process.stdout.read()
        assert process.wait() == 130, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].endswith("remaining jobs: python src/train.py resume_sweep=mine")
    assert statuses(sweep).count("interrupted") == 2
