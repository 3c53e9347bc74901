"""Workers of a sweep: which GPU and how many cores each one takes, and how the sweep's own process ends them.

joblib and submitit_local assign no GPUs, and submitit_local starts all jobs at once: so workers take slots of this
machine. To end workers on any machine, the sweep's own process makes a file in the sweep's folder.
"""

import fcntl
import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from command.job import JOBLIB, LOCAL, launcher_kind
from process import interruption
from process.errors import first_line
from process.files import write_json
from process.gpus import UNUSABLE, report_once, unusable_gpu, usable_gpus
from process.interruption import Interrupted
from run import sweep_record
from run.folder import RecordError, now, read_run_json

log = logging.getLogger(__name__)

# environment variable with one CUDA_VISIBLE_DEVICES per slot, empty without a GPU. The sweep's own process sets it, as
# submitit_local hides all GPUs from its jobs, and the free memory has changed when they begin
SLOTS = "SWEEP_SLOTS"
STOP = ".stop"  # the file in the sweep's folder that ends its workers
MEMORY = 2 * 2**30  # bytes for a job without a GPU: torch and Lightning alone take 0.6 GiB
TURN_INTERVAL = 0.5  # seconds between two looks for a free slot
STOP_INTERVAL = 1.0  # seconds between two looks for the stop file
# Ctrl-C at the terminal is for the sweep's own process, but submitit_local's processes would kill their jobs a second
# later. With the second trap a shell stays the parent of a job, and submitit takes its id for that of the job
IGNORE_CTRL_C = "trap '' INT; trap : EXIT"
NO_RESULT = JobReturn(status=JobStatus.COMPLETED)  # of a job that was lost; a job that failed returns None too

_taken: int | None = None
_watched: set[Path] = set()


def at_once(cpus: int = 1) -> int:
    """Return how many jobs this machine can run: one per GPU, else one per `cpus` cores and 2 GiB of free memory."""
    from joblib import cpu_count  # of a container, if that is limited

    return len(gpus()) or max(1, min(cpu_count() // cpus, psutil.virtual_memory().available // MEMORY))


def gpus() -> list[str]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES names, if it is set, else the UUIDs of all that torch can use."""
    if unusable_gpu():
        return []
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    return [gpu.uuid for gpu in usable_gpus()]


def gpus_per_job() -> int:
    return min(1, len(gpus()))


def offer(config: DictConfig) -> None:
    """Tell workers which slots there are. The sweep's own process calls it before Hydra builds the launcher."""
    launcher = config.hydra.launcher
    if launcher_kind(launcher) in (JOBLIB, LOCAL):
        if reason := unusable_gpu():
            os.environ[UNUSABLE] = reason  # workers see no GPU
            if OmegaConf.select(config, "trainer.accelerator") == "auto":
                report_once(reason)  # once for all workers
        os.environ[SLOTS] = ",".join(gpus() or [""] * at_once(launcher.get("cpus_per_task") or 1))
    if launcher_kind(launcher) == LOCAL:
        with read_write(config), open_dict(config):  # submitit knows `setup`, the plugin's config does not
            config.hydra.launcher = {**launcher, "setup": [IGNORE_CTRL_C]}


def take(launcher: DictConfig, folder: Path) -> None:
    """Hold a slot of the sweep in `folder` until this worker ends. Called before torch is imported.

    joblib starts only as many workers as it should; submitit_local starts all jobs at once, which wait here for a slot.
    More workers than slots share the GPUs in turn. Raises Interrupted if the sweep ends meanwhile.
    """
    global _taken
    local = launcher_kind(launcher) == LOCAL
    if _taken is not None or not (local or launcher_kind(launcher) == JOBLIB):
        return
    slots = os.environ[SLOTS].split(",")
    while (_taken := _first_free(folder / ".slots", len(slots) if local else None)) is None:
        end_when_asked(folder)
        time.sleep(TURN_INTERVAL)
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


def record_loss(folder: Path, how: str) -> None:
    """Record in a job's folder how its process ended, which could not write it any more."""
    why = f"{how}; if memory ran out, fewer jobs at a time have more: hydra.launcher.n_jobs="
    try:
        facts = read_run_json(folder)
        if facts["status"] == "running":
            write_json(folder / "run.json", {**facts, "status": "failed", "error": why, "ended": now()})
    except RecordError:  # killed before its first record
        folder.mkdir(parents=True, exist_ok=True)
        sweep_record.refuse(folder, why)


def result_or_none(get: Callable[[], Any]) -> JobReturn:
    """Return the result of a job, or one without a value if the launcher misses it: its process was killed."""
    try:
        return get()
    except Exception as error:
        interruption.check()  # Ray wraps the Interrupted that a signal raises inside it in another error
        log.error(f"a job without a result: {first_line(error)}")
        return NO_RESULT


def stopped() -> list[psutil.Process]:
    """Return the processes of this sweep on this machine that a signal, SIGSTOP, has stopped."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_STOPPED:
                found.append(process)
    return found


def stop(folder: Path) -> None:
    """Ask the workers of the sweep to end: running jobs save and end, jobs in SLURM's queue are cancelled.

    A stopped process continues for that.
    """
    (folder / STOP).touch()
    for process in stopped():
        with suppress(psutil.Error):
            process.resume()
    if shutil.which("scancel") and (
        queued := {path.name.partition("_")[0] for path in folder.glob(".submitit/*/*_submission.sh")}
    ):
        subprocess.run(["scancel", "--state=PENDING", *queued], check=False, capture_output=True)


def allow(folder: Path) -> None:
    """Undo `stop`, at the start of a sweep."""
    (folder / STOP).unlink(missing_ok=True)


def end_when_asked(folder: Path) -> None:
    """End this worker's job, as SIGTERM would, once `stop` is called. Raises Interrupted if it was already.

    A worker of joblib also ends when the sweep's own process is gone: it would wait for it for ever.
    """
    path = folder / STOP
    if path.exists():
        raise Interrupted(signal.SIGTERM)
    if path not in _watched:
        _watched.add(path)
        threading.Thread(target=_watch, args=(path, os.getppid()), name="stop", daemon=True).start()


def _watch(path: Path, parent: int) -> None:
    while not path.exists() and os.getppid() == parent:
        time.sleep(STOP_INTERVAL)
    os.kill(os.getpid(), signal.SIGTERM)
    while os.getppid() == parent or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # the job still saves
        time.sleep(STOP_INTERVAL)
    os._exit(128 + signal.SIGTERM)
