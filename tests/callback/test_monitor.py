import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import psutil
import pytest
import torch
from pytorch_lightning import Callback
from small_fit import Save, batches, classifier, fit

from callback.monitor import GradientNorm, LearningRate, SystemMetrics, Throughput, cpu_seconds, memory

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
    monkeypatch.setattr("callback.monitor.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    _, rows = fit([SystemMetrics()], [4] * 4, tmp_path)
    assert measured(rows) == [set(), CPU, set(), CPU]


def test_cpu_and_memory_of_this_process(tmp_path, monkeypatch):
    monkeypatch.setattr("callback.monitor.INTERVAL", 0)
    monkeypatch.setattr(psutil.Process, "children", lambda *_, **__: [])  # the fork server of other tests is no worker
    work = Work(0.2, cpu=0.2)
    _, rows = fit([work, SystemMetrics()], [4] * 3, tmp_path)
    cpu, wall = (after - before for before, after in zip(*work.starts[1:], strict=True))
    assert rows[1]["system/cpu_percent"] == pytest.approx(100 * cpu / wall, rel=0.2)
    resident = psutil.Process().memory_info().rss / 2**30
    assert rows[1]["system/memory_GiB"] == pytest.approx(resident, rel=0.1)


@pytest.mark.processes
def test_workers_count(tmp_path, monkeypatch):
    monkeypatch.setattr("callback.monitor.INTERVAL", 0)
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


@pytest.mark.processes
def test_a_worker_that_ends_meanwhile_is_left_out():
    worker = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(worker.pid)
    worker.wait()
    assert (cpu_seconds([process]), memory([process])) == ({}, 0)


def test_a_gpu(monkeypatch):
    monkeypatch.setattr("callback.monitor.INTERVAL", 0)
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


def test_a_gpu_whose_load_the_driver_does_not_know_is_asked_once(monkeypatch):
    asked = []

    def utilization(device):
        asked.append(device)
        raise RuntimeError("Not Supported")

    monkeypatch.setattr("callback.monitor.INTERVAL", 0)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "utilization", utilization)
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cuda", 0)))
    model, callback = SimpleNamespace(logs_now=True, step_metrics={}), SystemMetrics()
    callback.pynvml = True
    callback.on_train_start(trainer, model)
    for batch in range(2):
        callback.on_train_batch_end(trainer, model, None, None, batch)
    assert len(asked) == 1
    assert {*model.step_metrics} - {*CPU} == {"system/gpu_memory_GiB"}


def test_the_rate_of_the_logged_step_not_of_the_next(tmp_path):
    halving = {"scheduler": partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5), "interval": "step"}
    _, rows = fit([LearningRate()], [4] * 4, tmp_path, classifier(scheduler=halving), log_every_n_steps=2)
    assert [row["lr"] for row in rows] == pytest.approx([0.05, 0.0125])


def test_a_name_for_each_of_several_groups(tmp_path):
    def two_groups(parameters, lr, **_):
        weight, bias = parameters
        return torch.optim.SGD([{"params": [weight], "lr": 2 * lr}, {"params": [bias], "name": "bias"}], lr=lr)

    _, (row,) = fit([LearningRate()], [4], tmp_path, classifier(two_groups))
    assert {name: value for name, value in row.items() if name.startswith("lr")} == {"lr/0": 0.2, "lr/bias": 0.1}


def test_an_embedding_with_its_own_rate_has_a_curve_of_its_own(tmp_path):
    model = classifier(lr=0.0)
    model.network.embed, model.lr, model.embed_lr = torch.nn.Linear(1, 1), 0.1, "0.1x"
    _, (row,) = fit([LearningRate()], [4], tmp_path, model)
    curves = {name: value for name, value in row.items() if name.startswith("lr")}
    assert curves == {"lr/rest": 0.1, "lr/embed": pytest.approx(0.01)}


def norms(sizes, accumulate=1):
    """Return the gradient norms of a plain loop, one for each optimizer step."""
    model, found = classifier(), []
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for number, (images, labels, _) in enumerate(batches(sizes), 1):
        (model.task.loss(model.network(images), labels) / accumulate).backward()
        if number % accumulate == 0 or number == len(sizes):
            found.append(float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm()))
            sgd.step()
            sgd.zero_grad()
    return found


def test_of_all_gradients_together(tmp_path):
    _, rows = fit([GradientNorm()], [4] * 4, tmp_path)
    assert [row["grad_norm"] for row in rows] == pytest.approx(norms([4] * 4))


def test_before_clipping(tmp_path):
    _, (row,) = fit([GradientNorm()], [4], tmp_path, gradient_clip_val=1e-6)
    assert [row["grad_norm"]] == pytest.approx(norms([4]))


def test_of_the_last_step_where_gradients_accumulate(tmp_path):
    # batches 1 to 7, steps after 3, 6 and 7, rows after 2, 4 and 6
    settings = {"accumulate_grad_batches": 3, "log_every_n_steps": 2}
    _, rows = fit([GradientNorm()], [4] * 7, tmp_path, **settings)
    first, second, _ = norms([4] * 7, accumulate=3)
    assert [row.get("grad_norm") for row in rows] == [None, pytest.approx(first), pytest.approx(second)]


def test_is_kept_in_a_checkpoint_between_its_step_and_its_row(tmp_path):
    # steps after batches 3 and 4 of an epoch of 4, a row after the first batch of the second epoch
    settings = {"accumulate_grad_batches": 3, "log_every_n_steps": 5, "max_epochs": 2}
    checkpoint = tmp_path / "first epoch.ckpt"
    _, (whole,) = fit([GradientNorm(), Save(checkpoint)], [4] * 4, tmp_path, **settings)
    _, (rest,) = fit([GradientNorm()], [4] * 4, tmp_path, resume=checkpoint, **settings)
    assert rest["grad_norm"] == whole["grad_norm"] == pytest.approx(norms([4] * 4, accumulate=3)[1])


def test_computes_nothing_at_steps_that_are_not_logged(tmp_path, monkeypatch):
    computed = []
    real = torch.nn.utils.get_total_norm
    monkeypatch.setattr("callback.monitor.get_total_norm", lambda g: computed.append(0) or real(g))
    fit([GradientNorm()], [4] * 9, tmp_path, log_every_n_steps=3)
    assert len(computed) == 3


@pytest.mark.parametrize(("fused", "expected"), [(True, 5 / 8), (False, 5)])
def test_without_the_scale_that_half_precision_gives_to_losses(fused, expected):
    weight = torch.zeros(2, requires_grad=True)
    weight.grad = torch.tensor([3.0, 4.0])
    optimizer = torch.optim.SGD([weight], lr=0.1)
    optimizer._step_supports_amp_scaling = fused  # Lightning leaves it to such an optimizer to divide by the scale
    scaler = SimpleNamespace(get_scale=lambda: 8.0)
    trainer = SimpleNamespace(
        log_every_n_steps=1,
        accumulate_grad_batches=1,
        fit_loop=SimpleNamespace(total_batch_idx=0),
        precision_plugin=SimpleNamespace(scaler=scaler),
    )
    callback = GradientNorm()
    callback.on_before_optimizer_step(trainer, None, optimizer)
    assert float(callback.norm) == expected


class Slow(Callback):
    def on_train_batch_start(self, *_):
        time.sleep(0.05)

    def on_validation_batch_start(self, *_):
        time.sleep(0.5)


def test_examples_are_the_images_seen_so_far(tmp_path):
    _, rows = fit([Throughput()], [5, 4, 3], tmp_path, max_epochs=2, log_every_n_steps=2)
    assert [row["examples"] for row in rows] == [9, 17, 24]


def test_speed_without_the_time_of_validation(tmp_path):
    settings = {"max_epochs": 2, "log_every_n_steps": 4, "valid": [2]}
    _, (row,) = fit([Throughput(), Slow()], [10, 10], tmp_path, **settings)
    assert 100 < row["system/images_per_second"] < 200  # 40 images in 0.2 s and a little more, not in 0.7 s


def test_a_resumed_training_counts_on_between_rows(tmp_path):
    settings, checkpoint = {"log_every_n_steps": 2, "max_epochs": 2}, tmp_path / "first epoch.ckpt"
    _, whole = fit([Throughput(), Save(checkpoint)], [5, 4, 3], tmp_path, **settings)
    _, rest = fit([Throughput()], [5, 4, 3], tmp_path, resume=checkpoint, **settings)
    assert ([row["examples"] for row in whole], [row["examples"] for row in rest]) == ([9, 17, 24], [17, 24])


def test_begins_at_0_where_it_was_left_out_before(tmp_path):
    settings, checkpoint = {"max_epochs": 2}, tmp_path / "first epoch.ckpt"
    fit([Save(checkpoint)], [5], tmp_path, **settings)
    _, (row,) = fit([Throughput()], [5], tmp_path, resume=checkpoint, **settings)
    assert row["examples"] == 5
