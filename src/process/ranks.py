"""The ranks of one training: which one this process is, what they agree on, and how they end together.

Before torch connects them, rank 0 shares its decisions through torchrun's store or a hidden folder. The first rank that
fails writes a failure record into the run folder, and rank 0 reports it.
"""

import atexit
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from adapter import lightning
from process import interruption
from process.errors import UserError, find_user_error
from process.files import explain_os_errors, replacing
from process.interruption import Interrupted
from process.secrets import scrub

T = TypeVar("T")

DECISION_TIMEOUT = 300.0  # seconds
POLL_INTERVAL = 0.1  # seconds
COMMON_FAILURE_TIMEOUT = 5.0  # seconds within which rank 0 has the same failure, if it is common to all ranks
GRACE_PERIOD = 10.0  # seconds that a rank has to end after another one; after them it hangs in a collective operation
RANK_ZERO_FAILED = "failed"  # the key under which rank 0 announces its failure
FAILURE_RECORD = ".first_failure"
SWEEPS = ("-m", "--multirun", "hydra.mode=MULTIRUN")
INTERACTIVE = ("bash", "interactive")  # SLURM jobs in which a person starts processes: Lightning's rule


class FailureReportedElsewhere(BaseException):
    """The end of this rank because of a failure that another rank reports. No Exception: nothing may handle it."""


# The rank of this process


def is_rank_zero() -> bool:
    """Return whether this process is the one that writes, by the variables of torchrun, Lightning and SLURM."""
    if "RANK" in os.environ:  # torchrun counts the nodes of a SLURM job in its own order
        return os.environ["RANK"] == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def launched_by_torchrun_or_srun() -> bool:
    """Return whether torchrun or srun started this process as one of several ranks."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ.get("WORLD_SIZE", "1")) > 1
    alone = os.environ.get("SLURM_NTASKS", "1") == "1" or os.environ.get("SLURM_JOB_NAME") in INTERACTIVE
    return not alone and "SLURM_PROCID" in os.environ


def launched_by_lightning() -> bool:
    """Return whether Lightning's launcher, which runs in rank 0 of this machine, started this process."""
    return "RANK" not in os.environ and os.environ.get("LOCAL_RANK", "0") != "0"


def refuse_unsupported_launch(argv: list[str]) -> None:
    """Raise a UserError for a sweep under torchrun or srun, and for several nodes without them."""
    by_launcher = launched_by_torchrun_or_srun() or "TORCHELASTIC_RUN_ID" in os.environ
    if by_launcher and any(argument in SWEEPS or argument.startswith("resume_sweep=") for argument in argv):
        raise UserError(
            "-m under torchrun or srun: every rank would start the whole sweep; without them, trainer=ddp starts the "
            "ranks of each job, and hydra/launcher=submitit_slurm leaves it to SLURM"
        )
    if os.environ.get("NODE_RANK", "0") != "0" and not (by_launcher or launched_by_lightning()):
        raise UserError(
            "NODE_RANK is set: several nodes are started by torchrun or srun, which let them agree on a run"
        )


# Decisions of rank 0 for all ranks


def agree_on(name: str, decide: Callable[[], T], timeout: float = DECISION_TIMEOUT) -> T:
    """Return rank 0's decision (plain values) on all ranks of torchrun or srun; otherwise this process's own.

    Raises a UserError where rank 0 has not decided after `timeout` seconds.
    """
    channel = _open_channel()
    if channel is None:
        return decide()
    if is_rank_zero():
        decision = decide()
        channel.put(name, json.dumps(decision))
        return decision
    decision_of_rank_zero: Any = json.loads(_wait_for(channel, name, timeout))
    return decision_of_rank_zero


def is_reported_elsewhere() -> bool:
    """Return whether rank 0 has and reports the same failure as this rank; on rank 0, announce the failure."""
    channel = _open_channel()
    if channel is None:
        return False
    if is_rank_zero():
        channel.put(RANK_ZERO_FAILED, "")
        if channel.ends_with_rank_zero:
            atexit.register(time.sleep, COMMON_FAILURE_TIMEOUT)
        return False
    try:
        _wait_for(channel, RANK_ZERO_FAILED, COMMON_FAILURE_TIMEOUT)
    except UserError:
        return False
    except FailureReportedElsewhere:
        pass
    return True


def gather_from_ranks(value: Any, world_size: int) -> list[Any]:
    """Return the value of each rank, in their order. Collective: call it on every rank once torch connects them."""
    if world_size == 1:
        return [value]
    import torch

    values: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(values, value)
    return values


class StoreChannel:
    """The key-value store of torchrun; each start and restart has keys of its own."""

    remedy = "can this node reach MASTER_ADDR?"  # for the error message if rank 0 does not answer
    ends_with_rank_zero = False

    def put(self, name: str, text: str) -> None:
        self._store.set(self._key(name), text)

    def get(self, name: str) -> str | None:
        key = self._key(name)
        return self._store.get(key).decode() if self._store.check([key]) else None

    def _key(self, name: str) -> str:
        return f"patch_sets/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{name}"

    @cached_property
    def _store(self) -> Any:
        from torch.distributed import TCPStore

        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        return TCPStore(address, port, is_master=False, timeout=timedelta(seconds=60))


class FolderChannel:
    """A hidden folder in the working directory, one for each step of a SLURM job; rank 0 removes it at its end."""

    remedy = "does this node share the working directory with the first?"
    ends_with_rank_zero = True

    def __init__(self) -> None:
        names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
        self.folder = Path(".ranks-" + "-".join(os.environ.get(name, "0") for name in names)).absolute()

    def put(self, name: str, text: str) -> None:
        if not self.folder.exists():
            with explain_os_errors(self.folder):
                self.folder.mkdir()
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        with replacing(self.folder / name) as file:
            file.write(text)

    def get(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None


def _open_channel() -> StoreChannel | FolderChannel | None:
    if not launched_by_torchrun_or_srun():
        return None
    return StoreChannel() if "TORCHELASTIC_RUN_ID" in os.environ else FolderChannel()


def _wait_for(channel: StoreChannel | FolderChannel, name: str, timeout: float) -> str:
    end = time.monotonic() + timeout
    while (text := channel.get(name)) is None:
        if channel.get(RANK_ZERO_FAILED) is not None:
            raise FailureReportedElsewhere
        if time.monotonic() > end:
            raise UserError(f"rank 0 has not shared its {name} for {timeout:g} s: {channel.remedy}")
        time.sleep(POLL_INTERVAL)
    return text


# The common end of all ranks


@contextmanager
def end_together(
    folder: Path, relaunch: tuple[list[str], str], record_failure: Callable[[str], None]
) -> Iterator[None]:
    """Run the block, the training of a run, on each rank; when one rank ends, end the others.

    On rank 0 the failure of another rank is raised as a UserError. If rank 0 hangs instead, `record_failure` is called
    and the process is killed. On other ranks a failure becomes FailureReportedElsewhere.

    Args:
        folder: the run folder, which holds the failure record.
        relaunch: command and working directory with which Lightning starts further ranks of this job.
        record_failure: writes the text of another rank's failure into run.json.
    """
    if not is_rank_zero():
        if launched_by_lightning():
            _end_with_parent(GRACE_PERIOD)
        try:
            yield
            _disconnect()
        except Exception as error:
            record_first_failure(folder, error)
            raise FailureReportedElsewhere from error
        except Interrupted as interrupted:
            record_first_failure(folder, interrupted)
            _disconnect()
            raise
        return
    _remove_old_record(folder / FAILURE_RECORD)
    watchdog = RankWatchdog(folder, record_failure)
    lightning.start_ranks_with(*relaunch, watchdog.watch)
    if launched_by_torchrun_or_srun():
        watchdog.watch([])
    patience = GRACE_PERIOD
    try:
        yield
    except BaseException as error:
        patience = 2.0
        watchdog.raise_earlier_failure(error)
        raise
    finally:
        watchdog.stop.set()
        _end_processes(watchdog.processes, patience)
        _disconnect()
        with suppress(OSError):  # a folder in which nothing may be written
            (folder / FAILURE_RECORD).unlink(missing_ok=True)


class RankWatchdog:
    """Watchdog that rank 0 runs over the other ranks, in a thread.

    Args:
        folder: the run folder, in which a failing rank leaves its failure record.
        record_failure: called with the failure's text before a hanging rank 0 is killed.
    """

    def __init__(self, folder: Path, record_failure: Callable[[str], None]) -> None:
        self.folder, self.record_failure = folder, record_failure
        self.processes: list[subprocess.Popen[bytes]] = []  # the ranks that Lightning started
        self.stop = threading.Event()
        self.has_other_ranks = False

    def watch(self, processes: list[subprocess.Popen[bytes]]) -> None:
        self.processes, self.has_other_ranks = processes, True
        threading.Thread(target=self._kill_where_hanging, name="other ranks", daemon=True).start()

    def raise_earlier_failure(self, error: BaseException) -> None:
        """Raise the failure of another rank if it came before `error`, which is then a consequence."""
        if not self.has_other_ranks:
            return
        interruption.defer(True)  # until the job is over: torchrun ends all ranks when one has failed
        failure = record_first_failure(self.folder, error)
        if failure is not None and failure["signal"] is not None:
            raise Interrupted(failure["signal"]) from error
        if failure is not None:
            raise UserError(_log_failure(failure)) from error
        if isinstance(error, Exception) and (killed := self._describe_killed(timeout=1.0)):
            raise UserError(killed) from error

    def _describe_killed(self, timeout: float = 0.0) -> str | None:
        """Describe the first rank that a signal has killed: it could write no failure record."""
        end = time.monotonic() + timeout
        while True:
            for rank, process in enumerate(self.processes, start=1):
                code = process.poll()
                if code is not None and code < 0:
                    return f"rank {rank} was ended by {signal.Signals(-code).name}: out of memory?"
            if time.monotonic() >= end:
                return None
            time.sleep(0.05)

    def _kill_where_hanging(self) -> None:
        """Kill this process and the other ranks if the training goes on after the failure of a rank."""
        while not self.stop.wait(0.5):
            failed = (self.folder / FAILURE_RECORD).exists() or any(process.poll() for process in self.processes)
            if failed and not self.stop.wait(GRACE_PERIOD):
                failure = _read_failure(self.folder)
                text = _log_failure(failure) if failure else self._describe_killed() or "another rank ended"
                self.record_failure(text)
                print(f"error: {text}", file=sys.stderr, flush=True)
                _end_processes(self.processes, 0)
                (self.folder / FAILURE_RECORD).unlink(missing_ok=True)
                os._exit(1)


def record_first_failure(folder: Path, error: BaseException) -> dict[str, Any] | None:
    """Record this rank's failure if it is the first, and return None; else return the first failure."""
    user_error = find_user_error(error)
    failure = {
        "rank": next((os.environ[name] for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if name in os.environ), "0"),
        "text": scrub(str(user_error) if user_error else f"{type(error).__name__}: {error}"),
        "traceback": scrub("".join(traceback.format_exception(error))),
        "signal": error.exit_code - 128 if isinstance(error, Interrupted) else None,
    }
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f"{FAILURE_RECORD}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(failure, file)
        try:
            os.link(name, folder / FAILURE_RECORD)  # atomic, and only the first rank succeeds
        finally:
            Path(name).unlink()
    except FileExistsError:
        return _read_failure(folder)
    except OSError:  # a full disk: then each rank reports its own failure
        pass
    return None


def _read_failure(folder: Path) -> dict[str, Any] | None:
    try:
        failure: dict[str, Any] = json.loads((folder / FAILURE_RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return failure


def _log_failure(failure: dict[str, Any]) -> str:
    """Write the traceback of a failure to train.log, and return its one line for the terminal."""
    logging.getLogger("failure").error(f"of rank {failure['rank']}:\n{failure['traceback']}")
    return f"rank {failure['rank']}: {failure['text']}"


def _remove_old_record(path: Path) -> None:
    """Remove the failure record of an earlier start that was killed.

    A record that is younger than this process stays: another rank has failed before this one came here.
    """
    import psutil

    if path.exists() and path.stat().st_mtime < psutil.Process().create_time():
        path.unlink()


def _disconnect() -> None:
    """Destroy torch's process group, so that the next job of a sweep can connect anew.

    A rank that exits while connected is aborted where another rank has exited first.
    """
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _end_processes(processes: list[subprocess.Popen[bytes]], seconds: float) -> None:
    """Wait up to `seconds` for the processes, then kill the rest: a rank that waits on a GPU handles no signal."""
    end = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_parent(seconds: float) -> None:
    """Have this process end within `seconds` after the process that started it, however that one ends."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        time.sleep(seconds)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
