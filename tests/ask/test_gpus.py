import pynvml
import pytest

from ask import gpus
from ask.gpus import GIB, GPU, list_gpus

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
        "DeviceGetUUID": lambda handle: f"GPU-{'ab'[int(handle[-1])]}1234",
        "DeviceGetName": lambda handle: f"Card of {handle}",
        "DeviceGetMemoryInfo": Memory,
        "DeviceGetUtilizationRates": utilization,
    }.items():
        monkeypatch.setattr(pynvml, f"nvml{name}", answer)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_all_in_the_order_of_their_slots(driver):
    assert list_gpus() == [
        GPU(0, "Card of slot 0", 10 * GIB, 80 * GIB, 97),
        GPU(1, "Card of slot 1", 139 * GIB, 140 * GIB, 97),
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
