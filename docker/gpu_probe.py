"""Probe that docker/run.sh runs in the image: print why its torch cannot use the GPU; print nothing if it can.

The driver is compared with the CUDA version that torch's version.py states: importing torch would take seconds.
"""

import ctypes
import re
import sys
from importlib.util import find_spec
from pathlib import Path

# the first driver of each major version of CUDA, which is also enough for the later minor versions
DRIVERS = {12: 525, 13: 580}


def refusal() -> str | None:
    """Return why torch cannot use the GPU, and the remedy; None if it can, or if there is no torch."""
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        return None
    built = re.search(r"^cuda\b.*'(\d+)\.(\d+)", Path(torch.origin).with_name("version.py").read_text(), re.MULTILINE)
    if built is None:
        return "the image's torch is for the CPU alone: for GPUs, docker/build.sh without --cpu and CPU=1"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "the engine gives the container no libcuda.so.1: install NVIDIA's driver and container toolkit"
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    major, minor = version.value // 1000, version.value % 1000 // 10
    needed = int(built[1])
    if major < needed:
        other = next((f"CUDA={cuda} docker/build.sh, or " for cuda in DRIVERS if cuda <= major), "")
        return (
            f"the driver supports CUDA {major}.{minor}, and the image's torch needs CUDA {needed}: "
            f"{other}install driver {DRIVERS[needed]} or later"
        )
    status = driver.cuInit(0)
    if status != 0:
        return f"the driver does not start in the container (cuInit returns {status}): see nvidia-smi on the host"
    return None


sys.exit(refusal())
