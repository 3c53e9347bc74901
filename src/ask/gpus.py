"""The GPUs of this machine and what is free on them, asked of NVIDIA's driver: no torch, which takes seconds."""

import os
from dataclasses import dataclass
from typing import Any

GIB = 2**30


@dataclass(frozen=True)
class GPU:
    """`number` is that of trainer.devices=[number], memory in bytes, `load` the percentage of time that it computes."""

    number: int
    name: str
    free: int
    total: int
    load: int | None  # None: it does not say, as slices of a GPU (MIG)

    def __str__(self) -> str:
        busy = "" if self.load is None else f", {self.load} % busy"
        return f"{self.name}: {self.free / GIB:.0f} of {self.total / GIB:.0f} GiB free{busy}"


def listed() -> list[GPU]:
    """In the order of their slots, or of CUDA_VISIBLE_DEVICES; none without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return [_asked(number, handle) for number, handle in enumerate(_handles(pynvml))]
    except pynvml.NVMLError:
        return []


def _handles(pynvml: Any) -> list[Any]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    names = [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    return [
        pynvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else pynvml.nvmlDeviceGetHandleByUUID(name)
        for name in names
    ]


def _asked(number: int, handle: Any) -> GPU:
    import pynvml

    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        load = int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except pynvml.NVMLError_NotSupported:
        load = None
    return GPU(number, pynvml.nvmlDeviceGetName(handle), memory.free, memory.total, load)
