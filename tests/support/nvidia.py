"""A GPU's driver that is not there: stub libraries of NVML and CUDA, which a program finds by LD_LIBRARY_PATH."""

import shutil
import subprocess
from pathlib import Path

import pytest

NVML = """
#include <string.h>
int nvmlInit(void) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { *handle = (void *)1; return 0; }
int nvmlDeviceGetName(void *handle, char *name, unsigned size) { strncpy(name, "Card", size); return 0; }
int nvmlDeviceGetUUID(void *handle, char *name, unsigned size) { strncpy(name, "GPU-1", size); return 0; }
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) { *major = 9; *minor = 0; return 0; }
int nvmlSystemGetDriverVersion(char *version, unsigned size) { strncpy(version, "550.54", size); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12040; return 0; }
"""
CUDA = """
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
"""


def old_driver(folder: Path, nvml: bool = True) -> dict[str, str]:
    """Build driver 550.54 (CUDA 12.4) of one GPU, an H100, and return the environment in which programs find it.

    Skips the test without gcc. Without `nvml` there is CUDA alone.
    """
    if shutil.which("gcc") is None:
        pytest.skip("no gcc, which builds the stub of a driver")
    sources = {"libcuda.so.1": CUDA} | ({"libnvidia-ml.so.1": NVML} if nvml else {})
    for name, source in sources.items():
        build = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", folder / name]
        subprocess.run(build, input=source, text=True, check=True)
    return {"LD_LIBRARY_PATH": str(folder)}
