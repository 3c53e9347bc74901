"""Slots of this machine for the workers of an engine that gives them neither GPUs nor turns: joblib, submitit_local."""

import fcntl
import os
import time
from itertools import count
from pathlib import Path

import psutil
from omegaconf import DictConfig, open_dict, read_write

from command.launcher import JOBLIB, LOCAL, kind
from sweep import stop

# one CUDA_VISIBLE_DEVICES for each slot, empty without a GPU: told by the sweep's own process, as submitit_local
# hides all GPUs from its jobs, and the free memory is another one when they begin
SLOTS = "SWEEP_SLOTS"
MEMORY = 2 * 2**30  # bytes for a job without a GPU: torch and Lightning alone take 0.6 GiB
INTERVAL = 0.5  # seconds
# submitit_local's processes would kill their jobs a second after a Ctrl-C at the terminal, which is for the sweep's own
# alone; with the second trap a shell stays their parent, whose id submitit takes for theirs
HEED_NO_CTRL_C = "trap '' INT; trap : EXIT"

_taken: int | None = None


def at_once(cpus: int = 1) -> int:
    """How many jobs this machine can run: one per GPU, else per so many cores, as far as its free memory reaches."""
    from joblib import cpu_count  # of a container, if that is limited

    return len(gpus()) or max(1, min(cpu_count() // cpus, psutil.virtual_memory().available // MEMORY))


def gpus() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them, if it is set, else the UUIDs of all."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [pynvml.nvmlDeviceGetUUID(handle) for handle in handles]
    except pynvml.NVMLError:  # no driver
        return []


def gpus_per_job() -> int:
    return min(1, len(gpus()))


def offer(config: DictConfig) -> None:
    """In the sweep's own process, before Hydra builds the launcher: say which slots there are."""
    launcher = config.hydra.launcher
    if kind(launcher) in (JOBLIB, LOCAL):
        os.environ[SLOTS] = ",".join(gpus() or [""] * at_once(launcher.get("cpus_per_task") or 1))
    if kind(launcher) == LOCAL:
        with read_write(config), open_dict(config):  # submitit has a `setup`, the plugin's type of its config has not
            config.hydra.launcher = {**launcher, "setup": [HEED_NO_CTRL_C]}


def take(launcher: DictConfig, folder: Path) -> None:
    """In a worker, before torch is imported: hold a slot of the sweep in `folder` until the process ends.

    joblib starts no more workers than it shall; jobs of submitit_local, all started at once, wait here for a slot.
    More workers than slots share the GPUs in turn. Raises Interrupted if the sweep ends meanwhile.
    """
    global _taken
    local = kind(launcher) == LOCAL
    if _taken is not None or not (local or kind(launcher) == JOBLIB):
        return
    slots = os.environ[SLOTS].split(",")
    while (_taken := _first_free(folder / ".slots", len(slots) if local else None)) is None:
        stop.heed(folder)
        time.sleep(INTERVAL)
    if gpu := slots[_taken % len(slots)]:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    if local:  # joblib divides the cores itself
        from joblib import cpu_count

        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cpu_count() // len(slots))))


def _first_free(folder: Path, number: int | None) -> int | None:
    folder.mkdir(exist_ok=True)
    for slot in range(number) if number else count():
        handle = os.open(folder / str(slot), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # left open: held as long as the process lives
        except BlockingIOError:
            os.close(handle)
        else:
            return slot
    return None
