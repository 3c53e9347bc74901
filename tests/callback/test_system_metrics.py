import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import torch
from pytorch_lightning import Callback
from small_fit import fit

from callback.system_metrics import SystemMetrics, cpu_seconds, memory

CPU = {"system/cpu_percent", "system/memory_GiB"}


class Work(Callback):
    def __init__(self, wall, cpu=0.0):
        self.wall, self.cpu, self.starts = wall, cpu, []

    def on_train_batch_start(self, *_):
        self.starts.append((time.process_time(), time.monotonic()))
        end = time.process_time() + self.cpu
        while time.process_time() < end:
            pass
        time.sleep(self.wall)


def measured(rows):
    return [{name for name in row if name.startswith("system/")} for row in rows]


def test_at_most_at_the_interval(tmp_path, monkeypatch):
    seconds = iter(range(0, 100, 3))  # each time that it looks at the clock
    monkeypatch.setattr("callback.system_metrics.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    _, rows = fit([SystemMetrics()], [4] * 4, tmp_path)
    assert measured(rows) == [set(), CPU, set(), CPU]


def test_cpu_and_memory_of_this_process(tmp_path, monkeypatch):
    monkeypatch.setattr("callback.system_metrics.INTERVAL", 0)
    work = Work(0.2, cpu=0.2)
    _, rows = fit([work, SystemMetrics()], [4] * 3, tmp_path)
    cpu, wall = (after - before for before, after in zip(*work.starts[1:], strict=True))
    assert rows[1]["system/cpu_percent"] == pytest.approx(100 * cpu / wall, rel=0.2)
    resident = psutil.Process().memory_info().rss / 2**30
    assert rows[1]["system/memory_GiB"] == pytest.approx(resident, rel=0.1)


def test_workers_count(tmp_path, monkeypatch):
    monkeypatch.setattr("callback.system_metrics.INTERVAL", 0)
    code = "x = bytearray(300 * 2**20); print(flush=True)\nwhile True: pass"
    _, (alone,) = fit([Work(0.3), SystemMetrics()], [4], tmp_path)
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert worker.stdout is not None
        worker.stdout.readline()
        _, (helped,) = fit([Work(0.3), SystemMetrics()], [4], tmp_path)
    finally:
        worker.kill()
        worker.communicate()
    assert helped["system/memory_GiB"] - alone["system/memory_GiB"] > 0.25
    assert helped["system/cpu_percent"] - alone["system/cpu_percent"] > 5


def test_a_worker_that_ends_meanwhile_is_left_out():
    worker = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(worker.pid)
    worker.wait()
    assert (cpu_seconds([process]), memory([process])) == ({}, 0)


def test_a_gpu(monkeypatch):
    monkeypatch.setattr("callback.system_metrics.INTERVAL", 0)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 87)
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cuda", 1)))
    for pynvml, expected in ((True, {"system/gpu_memory_GiB": 3.0, "system/gpu_percent": 87.0}), (False, None)):
        model, callback = SimpleNamespace(logs_now=True, step_metrics={}), SystemMetrics()
        callback.pynvml = pynvml
        callback.on_train_start(trainer, model)
        callback.on_train_batch_end(trainer, model, None, None, 0)
        found = {name: value for name, value in model.step_metrics.items() if name not in CPU}
        assert found == (expected or {"system/gpu_memory_GiB": 3.0})
