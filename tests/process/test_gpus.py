import logging
import os
import re

import pynvml
import pytest
import torch

from process import gpus
from process.errors import UserError
from process.gpus import GIB, GPU, list_gpus

CAPABILITY = {"slot 0": (7, 0), "slot 1": (9, 0), "MIG-slice": (9, 0)}
MEMORY = {"slot 0": (10, 80), "slot 1": (139, 140), "MIG-slice": (5, 20)}


@pytest.fixture
def driver(monkeypatch):
    """A driver of two GPUs, the second with a slice of unknown load."""

    class Memory:
        def __init__(self, handle):
            self.free, self.total = (size * GIB for size in MEMORY[handle])

    class Rates:
        gpu = 97

    def utilization(handle):
        if handle.startswith("MIG"):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return Rates

    def no_such(name):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    for name, answer in {
        "Init": lambda: None,
        "DeviceGetCount": lambda: 2,
        "DeviceGetHandleByIndex": lambda index: f"slot {index}",
        "DeviceGetHandleByUUID": lambda uuid: uuid if uuid in MEMORY else no_such(uuid),
        "DeviceGetUUID": lambda handle: {"slot 0": "GPU-a1234", "slot 1": "GPU-b1234"}.get(handle, handle),
        "DeviceGetName": lambda handle: f"Card of {handle}",
        "DeviceGetMemoryInfo": Memory,
        "DeviceGetUtilizationRates": utilization,
        "DeviceGetCudaComputeCapability": lambda handle: CAPABILITY[handle],
        "SystemGetDriverVersion": lambda: "580.95",
        "SystemGetCudaDriverVersion_v2": lambda: 13020,
    }.items():
        monkeypatch.setattr(pynvml, f"nvml{name}", answer)
    for name in ("CUDA_VISIBLE_DEVICES", gpus.UNUSABLE, gpus.REPORTED):
        monkeypatch.setenv(name, "")  # restored even where the code sets it anew
        monkeypatch.delenv(name)


def test_all_in_the_order_of_their_slots(driver):
    assert list_gpus() == [
        GPU(0, "Card of slot 0", 10 * GIB, 80 * GIB, 97, "GPU-a1234", (7, 0)),
        GPU(1, "Card of slot 1", 139 * GIB, 140 * GIB, 97, "GPU-b1234", (9, 0)),
    ]
    assert str(list_gpus()[1]) == "Card of slot 1: 139 of 140 GiB free, 97 % busy"


def test_those_that_the_environment_shows_are_numbered_as_cuda_does(driver, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, MIG-slice,0")
    assert [(gpu.number, gpu.name, gpu.load) for gpu in list_gpus()] == [
        (0, "Card of slot 1", 97),
        (1, "Card of MIG-slice", None),
        (2, "Card of slot 0", 97),
    ]
    assert str(list_gpus()[1]) == "Card of MIG-slice: 5 of 20 GiB free"


@pytest.mark.parametrize(
    ("names", "seen"),
    [("1,7,0", ["slot 1"]), ("1,-1,0", ["slot 1"]), ("GPU-b12,0", ["slot 1", "slot 0"]), ("GPU-c,0", [])],
)
def test_read_as_cuda_reads_it(driver, monkeypatch, names, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", names)
    assert [gpu.name for gpu in list_gpus()] == [f"Card of {slot}" for slot in seen]


def test_one_that_says_nothing_of_its_memory_is_listed(driver, monkeypatch):
    def unknown(handle):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", unknown)
    assert [str(gpu) for gpu in list_gpus()] == ["Card of slot 0: 97 % busy", "Card of slot 1: 97 % busy"]


def test_kinds_are_those_of_all_cards(driver, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpus.are_several_kinds()
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda handle: "Card")
    assert not gpus.are_several_kinds()


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_none_where_all_are_hidden(driver, monkeypatch, hidden):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert list_gpus() == []


def test_none_without_a_driver(monkeypatch):
    def no_driver():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", no_driver)
    assert gpus.list_gpus() == []


IN_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
IN_12 = ["sm_70", *IN_13]
TORCH_13, TORCH_12, CPU = (
    (("2.15.0+cu132", "13.2"), IN_13),
    (("2.10.0+cu128", "12.8"), IN_12),
    (("2.15.0+cpu", None), []),
)
TO_12 = "`CUDA=12 make install` (for the container: `CUDA=12 docker/build.sh`) installs one that can"
TO_13 = TO_12.replace("12", "13")


@pytest.fixture
def one(driver, monkeypatch):
    """`one(torch, capability, CUDA of the driver)`: one GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")

    def change(torch, capability, cuda):
        monkeypatch.setattr(gpus, "build", lambda: torch[0])
        monkeypatch.setattr(gpus, "architectures", lambda: torch[1])
        monkeypatch.setattr(pynvml, "nvmlDeviceGetCudaComputeCapability", lambda _: capability)
        monkeypatch.setattr(pynvml, "nvmlSystemGetCudaDriverVersion_v2", lambda: cuda)

    return change


@pytest.mark.parametrize(
    ("torch", "capability", "cuda"),
    [
        (TORCH_13, (9, 0), 13000),  # CUDA 13.2 on a driver for 13.0: compatible within 13
        (TORCH_13, (8, 9), 13020),  # code for 8.6
        (TORCH_13, (12, 1), 13020),
        (TORCH_12, (7, 0), 12000),
        (TORCH_12, (9, 0), 13020),
        (((("2.15.0+cu132", "13.2")), ["sm_75", "compute_120"]), (13, 0), 13020),  # compiled on the GPU
        (((("2.15.0+cu132", "13.2")), ["sm_90a"]), (9, 0), 13020),
        ((("2.15.0+cu132", "13.2"), []), (9, 0), 13020),  # unknown: torch itself will say
    ],
)
def test_a_gpu_that_torch_can_use(one, torch, capability, cuda):
    one(torch, capability, cuda)
    assert gpus.unusable_gpu() is None
    assert len(gpus.usable_gpus()) == 1


@pytest.mark.parametrize(
    ("torch", "capability", "cuda", "why", "remedy"),
    [
        (TORCH_13, (9, 0), 12040, "CUDA 13.2 needs driver 580 or later", f"{TO_12}, or install driver 580 or later"),
        (TORCH_13, (7, 0), 12040, "580.95 has CUDA 12.4", TO_12),  # a newer driver would not help
        (TORCH_13, (7, 0), 13000, f"capability 7.0 is not in this build ({' '.join(IN_13)})", TO_12),
        (TORCH_13, (9, 0), 11040, "has CUDA 11.4", "install driver 580 or later"),
        (TORCH_13, (7, 0), 11040, "has CUDA 11.4", f"install driver 525 or later, then {TO_12}"),
        (TORCH_12, (9, 0), 11040, "CUDA 12.8 needs driver 525 or later", "install driver 525 or later"),
        (TORCH_12, (6, 1), 12040, "6.1 is not in this", "a torch with CUDA 12.6 can (pytorch.org/get-started)"),
        (TORCH_13, (13, 0), 13020, "13.0 is not in this", "a torch of a later release can (pytorch.org/get-started)"),
        (CPU, (9, 0), 13020, "this build has no CUDA", TO_13),
        (CPU, (9, 0), 12040, "this build has no CUDA", TO_12),
        ((("2.15.0", "13.2"), ["sm_90a"]), (10, 0), 13020, "10.0 is not in this build (sm_90a)", TO_12),
    ],
)
def test_one_that_it_cannot_use_and_what_mends_it(one, torch, capability, cuda, why, remedy):
    one(torch, capability, cuda)
    line = gpus.unusable_gpu()
    assert line.startswith(f"torch {torch[0][0]} cannot use Card of slot 1: ")
    assert why in line
    assert line.endswith(f"; {remedy}")
    assert gpus.usable_gpus() == []


def test_of_several_kinds_those_that_it_can_use(driver, monkeypatch):
    monkeypatch.setattr(gpus, "build", lambda: TORCH_13[0])
    monkeypatch.setattr(gpus, "architectures", lambda: IN_13)
    assert [gpu.number for gpu in gpus.usable_gpus()] == [1]
    assert gpus.unusable_gpu() is None


def test_of_several_kinds_the_newest_is_mended(driver, monkeypatch):
    monkeypatch.setattr(gpus, "build", lambda: TORCH_13[0])
    monkeypatch.setattr(gpus, "architectures", lambda: IN_13)
    monkeypatch.setattr(pynvml, "nvmlSystemGetCudaDriverVersion_v2", lambda: 12040)
    monkeypatch.setitem(CAPABILITY, "slot 0", (6, 1))  # no lock supports it
    assert gpus.unusable_gpu() == (
        "torch 2.15.0+cu132 cannot use Card of slot 1, Card of slot 0: its CUDA 13.2 needs driver 580 or later, and "
        f"580.95 has CUDA 12.4; {TO_12}, or install driver 580 or later"
    )


def test_hidden_ones_are_the_users_choice(one, monkeypatch):
    one(TORCH_13, (9, 0), 12040)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.unusable_gpu() is None
    assert [gpus.choose_accelerator(each) for each in ("auto", "gpu", "cpu")] == ["auto", "gpu", "cpu"]


def test_auto_becomes_the_processor_and_says_so_once(one, caplog):
    one(TORCH_13, (9, 0), 12040)
    assert gpus.choose_accelerator("auto") == "cpu"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    (said,) = caplog.records
    assert (said.levelno, "; the processor is used" in said.message) == (logging.WARNING, True)
    assert gpus.choose_accelerator("auto") == "cpu"  # the next job of a sweep
    assert len(caplog.records) == 1
    with pytest.raises(UserError, match="cannot use Card of slot 1"):
        gpus.choose_accelerator("gpu")


def test_a_later_job_on_the_gpu_is_refused_for_the_same_reason(one, caplog):
    one(TORCH_13, (9, 0), 12040)
    assert gpus.choose_accelerator("cpu") == "cpu"
    with pytest.raises(UserError, match="cannot use Card of slot 1"):
        gpus.choose_accelerator("gpu")
    assert not caplog.records
    assert gpus.choose_accelerator("auto") == "cpu"
    assert len(caplog.records) == 1


def test_another_rank_is_silent(one, caplog, monkeypatch):
    one(TORCH_13, (9, 0), 12040)
    monkeypatch.setenv("RANK", "1")
    assert gpus.choose_accelerator("auto") == "cpu"
    assert not caplog.records


def test_the_processor_that_was_asked_for_is_used_in_silence(one, caplog):
    one(TORCH_13, (9, 0), 12040)
    assert gpus.choose_accelerator("cpu") == "cpu"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""  # Lightning would ask torch for its generator's state
    assert not caplog.records


def test_cuda_fails_for_another_reason(one, monkeypatch):
    def fail():
        raise RuntimeError("CUDA unknown error - this may be due to\nmore")

    one(TORCH_13, (9, 0), 13020)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    assert gpus.choose_accelerator("gpu") == "gpu"
    monkeypatch.setattr(torch.cuda, "init", fail)
    line = (
        "torch 2.15.0+cu132 cannot use Card of slot 1: CUDA unknown error - this may be due to; nvidia-smi tells more"
    )
    with pytest.raises(UserError, match=re.escape(line)):
        gpus.choose_accelerator("gpu")


@pytest.mark.parametrize(("available", "switch"), [(False, "0"), (True, "1")])
def test_without_a_gpu_no_step_looks_for_its_driver(available, switch, monkeypatch):
    monkeypatch.setenv(gpus.DRIVER_CHECK, "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    gpus.choose_accelerator("auto")
    assert os.environ[gpus.DRIVER_CHECK] == switch
