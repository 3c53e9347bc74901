"""hydra/launcher=submitit_slurm on a real SLURM of one node, and what SLURM may do to a job."""

import signal

import pytest
import slurm
from runs import record
from sweeps import TINY, start, statuses, sweep_in

pytestmark = pytest.mark.processes

LAUNCHER = ("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")
LONGER = (*TINY, "hparams.max_epochs=2", "hparams.batch_size=16", "+trainer.log_every_n_steps=2", "trainer=cpu")


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    if why := slurm.missing():
        pytest.skip(why)
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables


@pytest.fixture(autouse=True)
def cluster(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def told(*commands):
    """A sweep over what a job does to itself in the middle of its first training."""
    quoted = ",".join(f"'{command}'" for command in commands)
    return "+callbacks.fault={_target_: slurm.Told, batch: 7}", f"+callbacks.fault.command={quoted}"


def test_whatever_ends_a_job_it_goes_on_exactly_unless_it_was_cancelled(train, command, tmp_path, capfd):
    """`scontrol requeue`; SIGUSR2, as before a time limit; SIGTERM, as before a preemption; scancel."""
    alone = train(*LONGER)
    commands = ["scontrol requeue $JOB", "scancel --signal=USR2 $JOB", "scancel --signal=TERM $JOB", "scancel $JOB"]
    assert command("train", *LONGER, *LAUNCHER, *told(*commands), "-m") == 1
    sweep = sweep_in(tmp_path)
    assert statuses(sweep) == ["finished", "finished", "finished", "interrupted"]
    for job in range(3):
        assert len(record(sweep / str(job))["resumed"]) == 1
        assert (sweep / str(job) / "metrics.csv").read_bytes() == (alone / "metrics.csv").read_bytes()
    assert "1 of 4 jobs did not finish; remaining jobs: python src/train.py resume_sweep=" in capfd.readouterr().err


def test_a_preempted_job_goes_on_when_it_may(train, command, tmp_path):
    alone = train(*LONGER)
    preempt = "sbatch --partition=high --ntasks=2 --output=/dev/null --wrap true"
    assert command("train", *LONGER, *LAUNCHER, *told(preempt), "-m") == 0
    job = sweep_in(tmp_path) / "0"
    assert len(record(job)["resumed"]) == 1
    assert (job / "metrics.csv").read_bytes() == (alone / "metrics.csv").read_bytes()


def test_an_interrupted_sweep_leaves_nothing_in_the_queue(tmp_path):
    options = (*LONGER, *LAUNCHER, "hparams.max_epochs=1000", "hparams.seed=range(3)", "hydra.sweep.dir=mine")
    sweep = tmp_path / "mine"
    sweep.mkdir()
    with start(tmp_path, *options, "-m") as process:
        slurm.wait(lambda: statuses(sweep) == ["running"] * 2 or process.poll() is not None, "there are two cores")
        process.send_signal(signal.SIGINT)
        assert "interrupted by SIGINT; remaining jobs: python src/train.py resume_sweep=" in process.stdout.read()
        assert process.wait() == 130
    assert statuses(sweep) == ["interrupted", "interrupted"]
    slurm.wait(lambda: not slurm.jobs("pending,running,completing"), "jobs are left")
