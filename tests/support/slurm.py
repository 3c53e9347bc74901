"""A SLURM cluster of one node in a folder, as root and without munge: `with cluster(folder)`, then sbatch as usual."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from faults import Fault

from process import interruption

PROGRAMS = {"slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}  # of which package

# cred_expire: seconds until a job that is queued again may start, 5 at least. Jobs of the partition `high` preempt
# those of `low`. config_overrides: the node need not have what is written here.
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdSpoolDir={folder}/slurmd
StateSaveLocation={folder}/slurmctld
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000
PartitionName=low Nodes={host} PriorityTier=1 Default=YES
PartitionName=high Nodes={host} PriorityTier=2
"""

# accounting needs a database server; the controller knows the same of jobs as young as these
SACCT = """#!/bin/sh
echo 'JobID|State|NodeList'
exec squeue --all --array --noheader --states=all --format='%i|%T|%N'
"""


def missing() -> str | None:
    """Return the reason why no cluster can run here, if there is one."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "SLURM's daemons need Linux and root"
    packages = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    return f"SLURM is not installed: apt-get install {' '.join(packages)}" if packages else None


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Run the cluster and yield the variables by which the programs of SLURM find it."""
    for name in ("slurmctld", "slurmd", "bin"):
        (folder / name).mkdir(parents=True)
    config, sacct = folder / "slurm.conf", folder / "bin" / "sacct"
    config.write_text(CONFIG.format(host=socket.gethostname().split(".")[0], ports=_free_ports(2), folder=folder))
    sacct.write_text(SACCT)
    sacct.chmod(0o755)
    variables = {"SLURM_CONF": str(config), "PATH": f"{sacct.parent}{os.pathsep}{os.environ['PATH']}"}
    environment = {**os.environ, **variables}
    with ExitStack() as stack:
        for name in ("slurmctld", "slurmd"):
            output = stack.enter_context((folder / f"{name}.out").open("w"))
            daemon = subprocess.Popen([name, "-D"], env=environment, stdout=output, stderr=subprocess.STDOUT)
            stack.callback(daemon.wait, timeout=60)
            stack.callback(daemon.terminate)
        stack.callback(_end_jobs, environment)
        wait(lambda: "idle" in _output(["sinfo", "--noheader", "--format=%T"], environment), "SLURM did not start")
        yield variables


def jobs(state: str = "all") -> str:
    """Return the jobs that squeue lists, in the environment of the cluster."""
    return _output(["squeue", "--all", "--array", "--noheader", f"--states={state}", "--format=%i"], dict(os.environ))


def wait(condition: Callable[[], object], otherwise: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.1)


def _end_jobs(environment: dict[str, str]) -> None:
    subprocess.run(["scancel", "--user=root"], env=environment, check=False)
    with_jobs = ["squeue", "--noheader", "--states=running,completing"]
    wait(lambda: not _output(with_jobs, environment), "jobs do not end")


def _output(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Told(Fault):
    """A shell command about this job ($JOB) at its first run; the batch ends when the command's signal arrives."""

    def __init__(self, command: str, batch: int) -> None:
        super().__init__(batch)
        self.command = command

    def happen(self) -> None:
        if "SLURM_RESTART_COUNT" not in os.environ:
            array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
            job = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
            # unchecked: of the same job, it gets the signal as well
            subprocess.run(self.command, shell=True, check=False, env={**os.environ, "JOB": job})
            wait(interruption.is_pending, "no signal")
