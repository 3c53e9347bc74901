"""`make check-gpu` without a GPU: all of it at tiny sizes, and how it reports what fails, lacks or takes too long."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import psutil
import pytest
import torch
import warm
from runs import REPOSITORY
from torch import nn

from process.gpus import UNUSABLE

FOLDERS = [str(REPOSITORY / folder) for folder in ("src", "tests/support", "tests/set_module", "tests/bench")]


@pytest.fixture
def modules(monkeypatch) -> Iterator[Any]:
    """The modules check_gpu and gpu_checks, imported as the script imports them."""
    for folder in FOLDERS:
        monkeypatch.syspath_prepend(folder)
    log = logging.getLogger("pytorch_lightning")
    level, threads = log.level, torch.get_num_threads()  # which timing.py sets for the process of a benchmark
    import check_gpu
    import gpu_checks

    yield check_gpu, gpu_checks
    log.setLevel(level)
    torch.set_num_threads(threads)


@pytest.fixture
def place(modules, tmp_path) -> Any:
    return modules[1].Place(torch.device("cpu"), True, str(tmp_path), time.monotonic() + 600, 60)


@pytest.mark.processes
@pytest.mark.long
def test_every_check_and_every_ratio_on_the_processor(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(FOLDERS)}
    options = ("--device", "cpu", "--quick", "--seconds", "550")  # 40 s of a processor, more if it is busy
    process = warm.Process(FOLDERS[-1] + "/check_gpu.py", *options, cwd=tmp_path, variables=environment)
    out, error = process.communicate()
    assert process.returncode == 0, out + error
    machine, checks, ratios, end = out.strip().split("\n\n")
    assert machine.startswith(f"no GPU, torch {torch.__version__}, CUDA ")
    results = [row.split(" | ")[1] for row in checks.splitlines()[2:]]
    assert len(results) == 12
    assert all(result.startswith("ok: ") for result in results), checks
    figures = [row.strip("| ").split(" | ") for row in ratios.splitlines()[2:]]
    assert len(figures) == 23
    for label, theirs, ours, ratio, *memory in figures:
        assert min(float(theirs), float(ours)) >= 0, label
        assert float(ratio.partition(" (")[0]) > 0, label
        assert memory == ["-", "-"], label
    assert end.endswith(" s, 0 failed")


@pytest.mark.processes
def test_ctrl_c_ends_it_in_one_line():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(FOLDERS)}
    command = [sys.executable, FOLDERS[-1] + "/check_gpu.py", "--device", "cpu", "--quick"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        while not process.stdout.readline().startswith("| set modules, fp32"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err) == (130, "check_gpu.py: interrupted; the rows above are complete\n")


def test_the_lines_of_what_fails_lacks_or_comes_too_late(modules, place, monkeypatch, capsys):
    check_gpu, gpu_checks = modules

    def fail(_: Any) -> str:
        raise AssertionError("0.5 > 0.1\nmore")

    def lack(_: Any) -> str:
        raise gpu_checks.MissingError("no triton")

    monkeypatch.setattr(check_gpu, "CHECKS", {"a": fail, "b": lack, "c": lambda _: "fine"})
    assert check_gpu.check(place) == ["a"]
    rows = [row.rpartition(" | ")[0] for row in capsys.readouterr().out.splitlines()[2:]]
    assert rows == ["| a | FAILED: 0.5 > 0.1", "| b | skipped: no triton", "| c | ok: fine"]

    short = gpu_checks.Place(place.device, True, place.folder, time.monotonic() + 1, 0)
    monkeypatch.setattr(check_gpu, "CHECKS", dict.fromkeys("de", lambda _: time.sleep(60)))
    assert check_gpu.check(short) == ["d"]
    rows = [row.rpartition(" | ")[0] for row in capsys.readouterr().out.splitlines()[2:]]
    assert rows == ["| d | FAILED: not ready after 0.5 s", "| e | skipped: the time is over (--seconds)"]

    monkeypatch.setattr(check_gpu, "CHECKS", dict.fromkeys("abc", fail))
    late = gpu_checks.Place(place.device, True, place.folder, time.monotonic() - 1, 0)
    assert check_gpu.check(late) == check_gpu.measure(late) == []
    said = capsys.readouterr().out
    assert said.count("skipped: the time is over") == 3
    assert "rows are left out, from `training step, 64 wide` on" in said


def test_a_ratio_that_fails_is_a_line_and_the_next_is_measured(modules, place, monkeypatch, capsys):
    check_gpu, gpu_checks = modules

    def rows(_: Any) -> Any:
        yield "bad", lambda: str(1 / 0)
        yield "good", lambda: "| good | 1 |"
        raise gpu_checks.MissingError("no torch-geometric")

    monkeypatch.setattr(check_gpu, "rows", rows)
    assert check_gpu.measure(place) == ["bad"]
    _, _, *lines = capsys.readouterr().out.strip().splitlines()
    assert lines == ["| good | 1 |", "", "FAILED: bad: division by zero", "", "no torch-geometric"]


def test_a_ratio_that_is_not_ready_in_time_is_left_out(modules, place, monkeypatch, capsys):
    check_gpu, gpu_checks = modules
    short = gpu_checks.Place(place.device, True, place.folder, time.monotonic() + 0.5, 0)
    monkeypatch.setattr(check_gpu, "rows", lambda _: iter([("long", lambda: str(time.sleep(60))), ("next", str)]))
    assert check_gpu.measure(short) == []
    assert capsys.readouterr().out.endswith("The time is over (--seconds): 2 rows are left out, from `long` on\n")


@pytest.mark.processes
def test_a_training_that_is_not_ready_in_time_ends_with_its_workers(modules, place, monkeypatch, tmp_path):
    check_gpu, gpu_checks = modules
    script = tmp_path / "train.py"
    script.write_text(
        "import pathlib, subprocess, time\n"
        "worker = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(tmp_path)!r}, 'worker').write_text(str(worker.pid))\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setattr(gpu_checks, "TRAIN", str(script))
    with pytest.raises(TimeoutError, match=r"not ready after 5\.0 s"), check_gpu.stopped_after(5):
        gpu_checks.train_in_a_process(place)
    worker = int((tmp_path / "worker").read_text())
    for _ in range(100):  # it becomes a zombie where process 1 does not wait for orphans
        if not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    raise AssertionError("the worker is left")


class Rough(nn.Linear):
    """A linear layer whose values, or whose gradients, have an error of 1 % in fp32."""

    def __init__(self, in_features: int, forward: bool) -> None:
        super().__init__(in_features, in_features)
        self.wrong_forward = forward

    def forward(self, sets: Any) -> Any:
        out = sets.map(super().forward)
        if sets.values.dtype == torch.float64:
            return out
        off = 0.01 * out.values
        return out.with_values(out.values + (off.detach() if self.wrong_forward else off - off.detach()))


@pytest.mark.parametrize(("forward", "kind"), [(True, "values"), (False, "gradients")])
def test_an_error_of_a_percent_is_found_by_name(modules, place, monkeypatch, forward, kind):
    gpu_checks = modules[1]
    monkeypatch.setattr(gpu_checks, "MODULES", {"rough": partial(Rough, forward=forward)})
    with pytest.raises(AssertionError, match=rf"^rough, {kind}: \d\.\de-0[23] > \d\.\de-06$"):
        gpu_checks.set_modules(torch.float32, place)


def test_nan_is_an_error(modules, place, monkeypatch):
    class NaN(nn.Linear):
        def forward(self, sets: Any) -> Any:
            return sets.map(
                lambda values: super(NaN, self).forward(values) * (torch.nan if values.dtype != torch.float64 else 1)
            )

    monkeypatch.setattr(modules[1], "MODULES", {"nan": lambda in_features: NaN(in_features, in_features)})
    with pytest.raises(AssertionError, match="nan, values: inf > "):
        modules[1].set_modules(torch.float16, place)


def test_without_a_gpu_one_line_says_so(modules, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["check_gpu.py"])
    assert modules[0].main() == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "torch sees no GPU" in said.err


def test_a_gpu_that_torch_cannot_use_is_named_with_the_remedy(modules, monkeypatch, capsys):
    monkeypatch.setenv(UNUSABLE, "torch 2.15.0 cannot use Card: its driver is too old; install driver 580 or later")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # as for a GPU whose code torch does not have
    monkeypatch.setattr(sys, "argv", ["check_gpu.py"])
    assert modules[0].main() == 1
    assert capsys.readouterr().err == (
        "check_gpu.py: torch 2.15.0 cannot use Card: its driver is too old; install driver 580 or later; "
        "--device cpu --quick tries it without\n"
    )
