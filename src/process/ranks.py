"""The ranks of one training: which one this process is, what they agree on, and how they end together.

Before torch connects them, rank 0 shares its decisions through torchrun's store or a hidden folder. The first rank that
fails records why in the run folder, and rank 0 reports it.
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
from typing import Any, Protocol, TypeVar

from adapter import lightning
from process import interruption
from process.errors import UserError, find_user_error
from process.files import explained, replacing
from process.interruption import Interrupted
from process.secrets import scrub

T = TypeVar("T")

FAILED = "failed"  # what rank 0 says instead of an answer
POLL = 0.1  # seconds between two looks for it
PATIENCE = 300.0  # seconds
SILENCE = 5.0  # seconds within which it fails too, if it does
SWEEPS = ("-m", "--multirun", "hydra.mode=MULTIRUN")
INTERACTIVE = ("bash", "interactive")  # jobs of SLURM in which a person starts processes: Lightning's rule
WORD = ".first_failure"
GRACE = 10.0  # seconds that one rank has to end after another; longer, it hangs in an operation of all of them


class Channel(Protocol):
    """Texts by name."""

    remedy: str  # where nothing comes
    ends_with_rank_zero: bool

    def put(self, name: str, text: str) -> None: ...

    def look(self, name: str) -> str | None: ...


class StoreChannel:
    """The key-value store of torchrun, which each of its starts has of its own."""

    remedy = "can this node reach MASTER_ADDR?"
    ends_with_rank_zero = False

    def put(self, name: str, text: str) -> None:
        self._store.set(self._key(name), text)

    def look(self, name: str) -> str | None:
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
    """A hidden folder in the working directory, named by the step of the SLURM job; rank 0 removes it at its end."""

    remedy = "does this node share the working directory with the first?"
    ends_with_rank_zero = True

    def __init__(self) -> None:
        names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
        self.folder = Path(".ranks-" + "-".join(os.environ.get(name, "0") for name in names)).absolute()

    def put(self, name: str, text: str) -> None:
        if not self.folder.exists():
            with explained(self.folder):
                self.folder.mkdir()
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        with replacing(self.folder / name) as file:
            file.write(text)

    def look(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None


class ToldError(BaseException):
    """This rank ends because of what another one tells the user; no Exception, as nothing is to be done about it."""


def is_rank_zero() -> bool:
    """Whether this process is the one that writes, by the variables of torchrun, Lightning's launcher and SLURM."""
    if "RANK" in os.environ:  # of torchrun, which counts the nodes of a SLURM job in an order of its own
        return os.environ["RANK"] == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def started_together() -> bool:
    """Whether torchrun or srun started this process as one of several ranks; Lightning's launcher starts them later."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ.get("WORLD_SIZE", "1")) > 1
    alone = os.environ.get("SLURM_NTASKS", "1") == "1" or os.environ.get("SLURM_JOB_NAME") in INTERACTIVE
    return not alone and "SLURM_PROCID" in os.environ


def is_child() -> bool:
    """Whether Lightning's launcher, in rank 0 of the machine, started this process."""
    return "RANK" not in os.environ and os.environ.get("LOCAL_RANK", "0") != "0"


def refuse_alone(argv: list[str]) -> None:
    """Raise a UserError for what several ranks cannot agree on."""
    together = started_together() or "TORCHELASTIC_RUN_ID" in os.environ
    if together and any(argument in SWEEPS or argument.startswith("resume_sweep=") for argument in argv):
        raise UserError(
            "-m under torchrun or srun: every rank would start the whole sweep; without them, trainer=ddp starts the "
            "ranks of each job, and hydra/launcher=submitit_slurm leaves it to SLURM"
        )
    if os.environ.get("NODE_RANK", "0") != "0" and not (together or is_child()):
        raise UserError(
            "NODE_RANK is set: several nodes are started by torchrun or srun, which let them agree on a run"
        )


def agreed(name: str, decide: Callable[[], T], patience: float = PATIENCE) -> T:
    """What rank 0 decides (plain values), on all ranks that were started together; alone, the own decision."""
    channel = _channel()
    if channel is None:
        return decide()
    if is_rank_zero():
        decision = decide()
        channel.put(name, json.dumps(decision))
        return decision
    answer: Any = json.loads(_answer(channel, name, patience))
    return answer


def gather_from_ranks(value: Any, world_size: int) -> list[Any]:
    """Return the value of each rank, in their order. Collective: call it on every rank once torch connects them."""
    if world_size == 1:
        return [value]
    import torch

    values: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(values, value)
    return values


def is_said() -> bool:
    """Whether rank 0 says, within seconds, what goes wrong here too; on rank 0 it tells them that it does."""
    channel = _channel()
    if channel is None:
        return False
    if is_rank_zero():
        channel.put(FAILED, "")
        if channel.ends_with_rank_zero:
            atexit.register(time.sleep, SILENCE)
        return False
    try:
        _answer(channel, FAILED, SILENCE)
    except UserError:
        return False
    except ToldError:
        pass
    return True


def _answer(channel: Channel, name: str, patience: float) -> str:
    end = time.monotonic() + patience
    while (answer := channel.look(name)) is None:
        if channel.look(FAILED) is not None:
            raise ToldError
        if time.monotonic() > end:
            raise UserError(f"rank 0 said nothing about {name} for {patience:g} s: {channel.remedy}")
        time.sleep(POLL)
    return answer


def _channel() -> Channel | None:
    if not started_together():
        return None
    return StoreChannel() if "TORCHELASTIC_RUN_ID" in os.environ else FolderChannel()


@contextmanager
def end_together(folder: Path, alone: tuple[list[str], str], record_failure: Callable[[str], None]) -> Iterator[None]:
    """The training of a run, on each of its ranks, however many there are.

    `alone`: what runs this job and no other, and where: for the ranks that Lightning starts.
    On rank 0 the failure of another one is raised as a UserError; where it hangs, `record_failure` is called and the
    process ended. On other ranks a failure is a ToldError. Ranks that Lightning started end with the block.
    """
    if not is_rank_zero():
        if is_child():
            _end_with_parent(GRACE)
        try:
            yield
            _disconnect()
        except Exception as error:
            _first(folder, error)
            raise ToldError from error
        except Interrupted as interrupted:
            _first(folder, interrupted)
            _disconnect()
            raise
        return
    _remove_remnant(folder / WORD)
    watch = Watch(folder, record_failure)
    lightning.start_ranks_with(*alone, watch.over)
    if started_together():
        watch.over([])
    patience = GRACE
    try:
        yield
    except BaseException as error:
        patience = 2.0
        watch.explain(error)
        raise
    finally:
        watch.done.set()
        _end_children(watch.children, patience)
        _disconnect()
        with suppress(OSError):  # a folder in which nothing may be written
            (folder / WORD).unlink(missing_ok=True)


class Watch:
    """Of rank 0 over the others."""

    def __init__(self, folder: Path, record_failure: Callable[[str], None]) -> None:
        self.folder, self.record_failure = folder, record_failure
        self.children: list[subprocess.Popen[bytes]] = []
        self.done = threading.Event()
        self.several = False

    def over(self, children: list[subprocess.Popen[bytes]]) -> None:
        self.children, self.several = children, True
        threading.Thread(target=self._watch, name="other ranks", daemon=True).start()

    def explain(self, error: BaseException) -> None:
        """Raise why another rank ended, if one did before `error`."""
        if not self.several:
            return
        interruption.defer(True)  # until the job is over: torchrun ends all ranks when one has failed
        word = _first(self.folder, error)
        if word is not None and word["signal"] is not None:
            raise Interrupted(word["signal"]) from error
        if word is not None:
            raise UserError(_told(word)) from error
        if isinstance(error, Exception) and (died := self._died(wait=1.0)):
            raise UserError(died) from error

    def _died(self, wait: float = 0.0) -> str | None:
        """In words, which child a signal has ended: it left no word."""
        until = time.monotonic() + wait
        while True:
            for number, child in enumerate(self.children, start=1):
                code = child.poll()
                if code is not None and code < 0:
                    return f"rank {number} was ended by {signal.Signals(-code).name}: was there memory enough?"
            if time.monotonic() >= until:
                return None
            time.sleep(0.05)

    def _watch(self) -> None:
        while not self.done.wait(0.5):
            failed = (self.folder / WORD).exists() or any(child.poll() for child in self.children)
            if failed and not self.done.wait(GRACE):
                word = _read(self.folder / WORD)
                text = _told(word) if word else self._died() or "another rank ended"
                self.record_failure(text)
                print(f"error: {text}", file=sys.stderr, flush=True)
                _end_children(self.children, 0)
                (self.folder / WORD).unlink(missing_ok=True)
                os._exit(1)


def _first(folder: Path, error: BaseException) -> dict[str, Any] | None:
    """Leave word that this rank ended first, and why; else the word of the one that did."""
    mistake = find_user_error(error)
    word = {
        "rank": next((os.environ[name] for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if name in os.environ), "0"),
        "text": scrub(str(mistake) if mistake else f"{type(error).__name__}: {error}"),
        "traceback": scrub("".join(traceback.format_exception(error))),
        "signal": error.exit_code - 128 if isinstance(error, Interrupted) else None,
    }
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f"{WORD}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(word, file)
        try:
            os.link(name, folder / WORD)  # only the first succeeds, and nobody reads a half
        finally:
            Path(name).unlink()
    except FileExistsError:
        return _read(folder / WORD)
    except OSError:  # a full disk: then each says what it saw
        pass
    return None


def _told(word: dict[str, Any]) -> str:
    """In one line; the traceback goes to train.log."""
    logging.getLogger("failure").error(f"of rank {word['rank']}:\n{word['traceback']}")
    return f"rank {word['rank']}: {word['text']}"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        word: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return word


def _remove_remnant(path: Path) -> None:
    """Of a start that was killed; but another rank may have been quicker to fail than this one to begin."""
    import psutil

    if path.exists() and path.stat().st_mtime < psutil.Process().create_time():
        path.unlink()


def _disconnect() -> None:
    """So that the next job of a sweep connects anew. A rank that ends connected is aborted where another ends first."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _end_children(children: list[subprocess.Popen[bytes]], seconds: float) -> None:
    """Wait for them so long; then they are killed: a rank that waits for another on a GPU hears no signal."""
    until = time.monotonic() + seconds
    for child in children:
        try:
            child.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _end_with_parent(seconds: float) -> None:
    """Have this process end within `seconds` after the one that started it, however that one ends."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        time.sleep(seconds)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
