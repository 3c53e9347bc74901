"""Slots of a machine: who gets which GPU, who waits. The list of GPUs is faked."""

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest
from omegaconf import OmegaConf
from runs import REPOSITORY

from process.gpus import GPU, REPORTED, UNUSABLE
from process.interruption import Interrupted
from run.folder import read_run_json
from run.sweep_record import refusal
from sweep import workers

LOCAL, JOBLIB, SLURM = (
    OmegaConf.create({"hydra": {"launcher": {"_target_": f"some.module.{name}Launcher", "cpus_per_task": None}}})
    for name in ("Local", "Joblib", "Slurm")
)

TAKE = """
import os, sys
from pathlib import Path
from omegaconf import OmegaConf
from sweep import workers
launcher = OmegaConf.create({"_target_": f"some.module.{sys.argv[1]}Launcher"})
workers.take(launcher, Path(sys.argv[2]))
print(os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS"), "torch" in sys.modules, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(workers.SLOTS, "")
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    monkeypatch.setattr(workers, "_taken", None)


@pytest.fixture
def two_gpus(monkeypatch):
    found = [GPU(number, "A", None, None, None, f"GPU-{'ab'[number]}", None) for number in range(2)]
    monkeypatch.setattr(workers, "usable_gpus", lambda: found)
    monkeypatch.setattr(workers, "unusable_gpu", lambda: None)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(workers, "usable_gpus", list)
    monkeypatch.setattr(workers, "unusable_gpu", lambda: None)


@pytest.fixture
def worker(tmp_path):
    """`worker("Local")` -> a process that takes a slot, says what it got, and holds it until its stdin is closed."""
    with ExitStack() as stack:

        def start(launcher):
            environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            command = [sys.executable, "-c", TAKE, launcher, tmp_path]
            process = stack.enter_context(subprocess.Popen(command, env=environment, **pipes))
            stack.callback(process.kill)
            return process

        yield start


def got(process):
    return process.stdout.readline().split()


def test_gpus_are_named_by_uuid_or_as_they_are_given(two_gpus, monkeypatch):
    assert workers.gpus() == ["GPU-a", "GPU-b"]
    assert (workers.at_once(), workers.gpus_per_job()) == (2, 1)
    for visible, expected in (("2,3", ["2", "3"]), ("GPU-x", ["GPU-x"]), ("", []), ("-1", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert workers.gpus() == expected
    assert workers.gpus_per_job() == 0


@pytest.mark.parametrize("visible", [None, "0"])
def test_gpus_that_torch_cannot_use_are_no_slots_and_one_line_says_why(two_gpus, monkeypatch, caplog, visible):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(workers, "unusable_gpu", lambda: "torch cannot use A")
    for name in (REPORTED, UNUSABLE):
        monkeypatch.setenv(name, "")  # restored even where the code sets it anew
        monkeypatch.delenv(name)
    assert (workers.gpus(), workers.gpus_per_job()) == ([], 0)
    for accelerator, said in (("cpu", 0), ("auto", 1), ("auto", 1)):
        workers.offer(OmegaConf.merge(JOBLIB, {"trainer": {"accelerator": accelerator}}))
        assert len(caplog.messages) == said
    assert set(os.environ[workers.SLOTS].split(",")) == {""}
    assert os.environ[UNUSABLE] == "torch cannot use A"  # which a job with trainer=gpu is told


def test_without_a_gpu_cores_and_memory_limit(no_gpu, monkeypatch):
    memory = OmegaConf.create({"available": 100 * 2**30})
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    assert [workers.at_once(cpus) for cpus in (1, 3, 16)] == [8, 2, 1]
    for gib, expected in ((7, 3), (1, 1)):
        memory.available = gib * 2**30
        assert workers.at_once() == expected


@pytest.mark.processes
def test_each_worker_has_a_gpu_of_its_own_and_more_workers_share_in_turn(two_gpus, worker):
    workers.offer(JOBLIB)
    started = [worker("Joblib") for _ in range(3)]
    assert sorted(got(each)[0] for each in started) == ["GPU-a", "GPU-a", "GPU-b"]
    for each in started:
        each.kill()
        each.wait()
    assert got(worker("Joblib"))[0] == "GPU-a"  # a slot is free again, however its worker ended


@pytest.mark.processes
def test_what_the_user_chose_is_divided(two_gpus, worker, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    workers.offer(LOCAL.copy())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as submitit_local does to its jobs
    assert sorted(got(worker("Local"))[0] for _ in range(2)) == ["1", "3"]


@pytest.mark.processes
def test_others_wait_for_their_turn_and_threads_are_divided_before_torch_is_there(worker, monkeypatch):
    monkeypatch.setenv(workers.SLOTS, ",")  # two slots without a GPU
    holding = [worker("Local") for _ in range(2)]
    threads = str(max(1, (os.cpu_count() or 1) // 2))
    assert [got(each)[0] for each in holding] == ["None", "None"]
    third = worker("Local")
    assert select.select([third.stdout], [], [], 4) == ([], [], [])
    holding[0].stdin.close()
    assert got(third) == ["None", threads, "False"]


@pytest.mark.processes
def test_who_waits_ends_with_the_sweep(worker, tmp_path, monkeypatch):
    monkeypatch.setenv(workers.SLOTS, "only")
    assert got(worker("Local"))[0] == "only"
    (tmp_path / ".stop").touch()
    with pytest.raises(Interrupted, match="SIGTERM") as raised:
        workers.take(LOCAL.hydra.launcher, tmp_path)
    assert raised.value.signum == signal.SIGTERM


@pytest.mark.processes
def test_a_stopped_process_is_found_and_continues_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert [each.pid for each in workers.stopped()] == [process.pid]
        workers.stop(tmp_path)
        assert workers.stopped() == []
        process.communicate(b"\n")
    assert process.returncode == 0


def test_how_a_process_ended_is_recorded_where_the_job_could_not(tmp_path):
    begun = {"status": "running", "started": "", "settings": {}, "composed": {}, "metrics": {}}
    for job, status in (("0", "running"), ("1", "finished")):
        (tmp_path / job).mkdir()
        (tmp_path / job / "run.json").write_text(json.dumps({**begun, "status": status}))
    for job in "012":
        workers.record_loss(tmp_path / job, "its process was killed by SIGKILL")
    lost = read_run_json(tmp_path / "0")
    assert lost["status"] == "failed"
    assert lost["error"].startswith("its process was killed by SIGKILL; if memory ran out, ")
    assert read_run_json(tmp_path / "1") == {**begun, "status": "finished"}
    assert refusal(tmp_path / "2") == lost["error"]


def test_a_scheduler_gives_devices_itself(two_gpus, tmp_path, monkeypatch):
    monkeypatch.delenv(workers.SLOTS)
    workers.offer(SLURM)
    workers.take(SLURM.hydra.launcher, tmp_path)
    assert workers.SLOTS not in os.environ
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert not list(tmp_path.iterdir())
