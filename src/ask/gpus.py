"""The GPUs of this machine and their free memory, read from NVIDIA's driver: importing torch would take seconds."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml

GIB = 2**30


@dataclass(frozen=True)
class GPU:
    """A GPU: `number` as in trainer.devices=[number], memory in bytes, `load` in percent of the time.

    None: unknown, as the load of a slice of a GPU (MIG), or the memory of a GPU that shares the processor's.
    """

    number: int
    name: str
    free: int | None
    total: int | None
    load: int | None

    def __str__(self) -> str:
        known = []
        if self.free is not None and self.total is not None:
            known.append(f"{self.free / GIB:.0f} of {self.total / GIB:.0f} GiB free")
        if self.load is not None:
            known.append(f"{self.load} % busy")
        return f"{self.name}: {', '.join(known)}" if known else self.name


def list_gpus() -> list[GPU]:
    """Return the GPUs in the order of their slots, or of CUDA_VISIBLE_DEVICES; none without a driver."""
    try:
        return [_read(number, handle) for number, handle in enumerate(_visible(_slots()))]
    except pynvml.NVMLError:
        return []


def are_several_kinds() -> bool:
    """Return whether all GPUs, visible or not, are of several models: CUDA then counts them by speed, not by slot."""
    return len({pynvml.nvmlDeviceGetName(handle) for handle in _slots()}) > 1


def _slots() -> list[Any]:
    pynvml.nvmlInit()
    return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]


def _visible(slots: list[Any]) -> list[Any]:
    """Return the GPUs of CUDA_VISIBLE_DEVICES up to the first name that is not one, as CUDA reads it."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return slots
    found = []
    for name in map(str.strip, names.split(",")):
        begins = [slot for slot in slots if name.startswith("GPU-") and pynvml.nvmlDeviceGetUUID(slot).startswith(name)]
        if name.isdigit() and int(name) < len(slots):
            found.append(slots[int(name)])
        elif len(begins) == 1:
            found += begins
        elif (named := _or_none(pynvml.nvmlDeviceGetHandleByUUID, name)) is not None:
            found.append(named)
        else:
            break
    return found


def _read(number: int, handle: Any) -> GPU:
    memory = _or_none(pynvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _or_none(pynvml.nvmlDeviceGetUtilizationRates, handle)
    free, total = (None, None) if memory is None else (memory.free, memory.total)
    return GPU(number, pynvml.nvmlDeviceGetName(handle), free, total, None if rates is None else int(rates.gpu))


def _or_none(query: Callable[[Any], Any], handle: Any) -> Any:
    """Return the driver's answer, or None if it has none."""
    try:
        return query(handle)
    except pynvml.NVMLError:
        return None
