"""The GPUs of this machine and what is free on them, asked of NVIDIA's driver: no torch, which takes seconds."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

GIB = 2**30


@dataclass(frozen=True)
class GPU:
    """`number` is that of trainer.devices=[number], memory in bytes, `load` the percentage of time that it computes.

    None: it does not say, as slices of a GPU (MIG) their load, and GPUs that share the processor's memory.
    """

    number: int
    name: str
    free: int | None
    total: int | None
    load: int | None

    def __str__(self) -> str:
        known = (
            []
            if self.free is None or self.total is None
            else [f"{self.free / GIB:.0f} of {self.total / GIB:.0f} GiB free"]
        )
        known += [] if self.load is None else [f"{self.load} % busy"]
        return f"{self.name}: {', '.join(known)}" if known else self.name


def listed() -> list[GPU]:
    """In the order of their slots, or of CUDA_VISIBLE_DEVICES; none without a driver."""
    import pynvml

    try:
        return [_asked(number, handle) for number, handle in enumerate(_visible(_slots()))]
    except pynvml.NVMLError:
        return []


def are_several_kinds() -> bool:
    """Of all, visible or not: CUDA would count the fastest first, where the driver counts slots."""
    import pynvml

    return len({pynvml.nvmlDeviceGetName(handle) for handle in _slots()}) > 1


def _slots() -> list[Any]:
    import pynvml

    pynvml.nvmlInit()
    return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]


def _visible(slots: list[Any]) -> list[Any]:
    """Those of CUDA_VISIBLE_DEVICES, up to the first that is none, as CUDA reads it."""
    import pynvml

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
        elif (named := _said(pynvml.nvmlDeviceGetHandleByUUID, name)) is not None:
            found.append(named)
        else:
            break
    return found


def _asked(number: int, handle: Any) -> GPU:
    import pynvml

    memory = _said(pynvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _said(pynvml.nvmlDeviceGetUtilizationRates, handle)
    free, total = (None, None) if memory is None else (memory.free, memory.total)
    return GPU(number, pynvml.nvmlDeviceGetName(handle), free, total, None if rates is None else int(rates.gpu))


def _said(ask: Callable[[Any], Any], of: Any) -> Any:
    """None where the driver does not say."""
    import pynvml

    try:
        return ask(of)
    except pynvml.NVMLError:
        return None
