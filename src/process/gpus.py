"""The GPUs of this machine, read from NVIDIA's driver, and why torch cannot use them. Importing torch takes seconds."""

import logging
import os
import re
from collections.abc import Callable
from ctypes import CDLL, byref, c_int
from dataclasses import dataclass
from typing import Any

import pynvml

from adapter.pytorch import architectures, build
from process.errors import UserError, first_line
from process.ranks import is_rank_zero

log = logging.getLogger(__name__)

GIB = 2**30
# CUDA of a lock (`CUDA=12 make install`) -> the oldest driver, and the compute capabilities in its torch
LOCKS = {12: (525, (7, 0), (12, 1)), 13: (580, (7, 5), (12, 1))}
# environment variables, for later jobs and the processes that this one starts: why torch cannot use the GPUs, which are
# hidden from them, and that a line has said so
UNUSABLE, REPORTED = "UNUSABLE_GPU", "UNUSABLE_GPU_REPORTED"
DRIVER_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"  # of torch


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
    uuid: str
    capability: tuple[int, int] | None  # compute capability

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


def usable_gpus() -> list[GPU]:
    """Return the GPUs of `list_gpus` that the installed torch can use, as far as that is known without importing it."""
    return [gpu for gpu in list_gpus() if _refusal(gpu.capability) is None]


def unusable_gpu() -> str | None:
    """Return the line that says why torch can use no GPU that is there, and what mends it, without importing torch.

    Returns None if torch can use one, and if there is none or CUDA_VISIBLE_DEVICES hides all.
    """
    if UNUSABLE in os.environ:
        return os.environ[UNUSABLE]
    # the newest decides: an old card for the display needs another remedy
    gpus = sorted(list_gpus(), key=lambda gpu: gpu.capability or (0, 0), reverse=True)
    capabilities = [gpu.capability for gpu in gpus] or ([None] if _has_gpu_without_nvml() else [])
    refusals = [_refusal(capability) for capability in capabilities]
    if not refusals or None in refusals:
        return None
    return f"torch {build()[0]} cannot use {_names(gpus)}: {refusals[0]}; {_remedy(capabilities[0])}"


def choose_accelerator(asked: str) -> str:
    """Return the Trainer's accelerator: `asked`, or cpu in place of auto if torch can use no GPU that is there.

    Such a GPU is reported, unless the processor was asked for, and hidden from torch: Lightning sees it through NVML,
    and would ask torch for the state of its generator. Raises a UserError if a GPU was asked for.
    """
    import torch

    if not torch.cuda.is_available():
        os.environ[DRIVER_CHECK] = "0"  # with "1", as Lightning sets it, each optimizer step looks for a driver: 150 us
    if (reason := unusable_gpu() or _error_of_cuda()) is None:
        return asked
    os.environ[UNUSABLE] = reason
    if asked in ("gpu", "cuda"):
        raise UserError(f"trainer: {reason}; without a GPU: trainer=cpu")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if asked != "auto":
        return asked
    report_once(reason)
    return "cpu"


def report_once(reason: str) -> None:
    """Log why the GPU is not used; ranks, workers and jobs that this process starts later do not log it again."""
    if is_rank_zero() and REPORTED not in os.environ:
        log.warning(f"{reason}; the processor is used (trainer=cpu hides this line)")
    os.environ[REPORTED] = "1"


def driver_version() -> str | None:
    """Return the version of NVIDIA's driver; None without one."""
    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None


def _refusal(capability: tuple[int, int] | None) -> str | None:
    """Return why the installed torch cannot use a GPU of this compute capability; None if it can, or for all known."""
    cuda = build()[1]
    if cuda is None:
        return "this build has no CUDA (made with CPU=1?)"
    needed, driver = int(cuda.partition(".")[0]), _cuda_of_driver()
    if driver is not None and driver < (needed, 0):
        oldest = f"driver {LOCKS[needed][0]} or later" if needed in LOCKS else "a newer driver"
        here = driver_version() or "the driver here"
        return f"its CUDA {cuda} needs {oldest}, and {here} has CUDA {driver[0]}.{driver[1]}"
    if capability is not None and architectures() and not any(_runs(each, capability) for each in architectures()):
        major, minor = capability
        return f"its compute capability {major}.{minor} is not in this build ({' '.join(architectures())})"
    return None


def _runs(architecture: str, capability: tuple[int, int]) -> bool:
    """Return whether code for sm_86, or compute_86 (compiled on the GPU), runs on a GPU of this compute capability.

    sm_ runs on the same major version from its minor one on, compute_ on all later ones, sm_90a on 9.0 alone.
    """
    kind, number, feature = re.fullmatch(r"(sm|compute)_(\d+)([af]?)", architecture).groups()  # type: ignore[union-attr]
    built = divmod(int(number), 10)
    if feature == "a":
        return built == capability
    return built <= capability and (built[0] == capability[0] or (kind == "compute" and not feature))


def _remedy(capability: tuple[int, int] | None) -> str:
    """Return what makes torch use a GPU of this compute capability: the other lock, a newer driver or another torch."""
    fitting = [cuda for cuda, (_, old, new) in LOCKS.items() if capability is None or old <= capability <= new]
    if not fitting:
        is_old = capability is not None and capability < (7, 0)
        return f"a torch {'with CUDA 12.6' if is_old else 'of a later release'} can (pytorch.org/get-started)"
    cuda, driver = build()[1], _cuda_of_driver()
    own = int(cuda.partition(".")[0]) if cuda else None
    install = "`CUDA={0} make install` (for the container: `CUDA={0} docker/build.sh`) installs one that can"
    ready = [each for each in fitting if each != own and (driver is None or (each, 0) <= driver)]
    newest = own if own in fitting else max(fitting)
    if driver is None or (newest, 0) <= driver or (ready and newest != own):
        return install.format(max(ready, default=newest))
    update = f"driver {LOCKS[newest][0]} or later"
    if newest != own:
        return f"install {update}, then {install.format(newest)}"
    return f"{install.format(max(ready))}, or install {update}" if ready else f"install {update}"


def _cuda_of_driver() -> tuple[int, int] | None:
    """Return the newest CUDA that the driver knows; None if unknown."""
    try:
        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetCudaDriverVersion_v2()
    except pynvml.NVMLError:
        number = c_int()
        if _libcuda("cuDriverGetVersion", byref(number)) != 0:
            return None
        version = number.value
    return version // 1000, version % 1000 // 10


def _has_gpu_without_nvml() -> bool:
    """Return whether CUDA sees a GPU where NVML cannot be loaded, as in a container with compute capabilities only."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return _libcuda("cuInit", 0) == 0
    return False


def _libcuda(function: str, *arguments: Any) -> int | None:
    """Return what a function of the driver's CUDA library returns, 0 for success; None without the library."""
    try:
        return int(CDLL("libcuda.so.1")[function](*arguments))
    except OSError:
        return None


def _error_of_cuda() -> str | None:
    """Return the line for a GPU on which CUDA fails for another reason; None if it works, or if there is no GPU."""
    gpus = list_gpus()
    if not gpus and not _has_gpu_without_nvml():
        return None
    import torch

    try:
        torch.cuda.init()
    except (RuntimeError, torch.cuda.DeferredCudaCallError) as error:
        return f"torch {build()[0]} cannot use {_names(gpus)}: {first_line(error)}; nvidia-smi tells more"
    return None


def _names(gpus: list[GPU]) -> str:
    return ", ".join(dict.fromkeys(gpu.name for gpu in gpus)) or "the GPU"


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
    return GPU(
        number,
        pynvml.nvmlDeviceGetName(handle),
        free,
        total,
        None if rates is None else int(rates.gpu),
        pynvml.nvmlDeviceGetUUID(handle),
        _or_none(pynvml.nvmlDeviceGetCudaComputeCapability, handle),
    )


def _or_none(query: Callable[[Any], Any], handle: Any) -> Any:
    """Return the driver's answer, or None if it has none."""
    try:
        return query(handle)
    except pynvml.NVMLError:
        return None
