"""The ranks of one training end together, and rank 0 says why: the first that fails leaves word in the run folder."""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from run import interruption, rank_launch, ranks
from run.errors import UserError, find_user_error
from run.interruption import Interrupted
from run.secrets import scrub

WORD = ".first_failure"
GRACE = 10.0  # seconds that one rank has to end after another; longer, it hangs in an operation of all of them


@contextmanager
def end_together(folder: Path, alone: tuple[list[str], str], record_failure: Callable[[str], None]) -> Iterator[None]:
    """The training of a run, on each of its ranks, however many there are.

    `alone`: what runs this job and no other, and where: for the ranks that Lightning starts.
    On rank 0 the failure of another one is raised as a UserError; where it hangs, `record_failure` is called and the
    process ended. On other ranks a failure is a ToldError. Ranks that Lightning started end with the block.
    """
    if not ranks.is_rank_zero():
        if ranks.is_child():
            rank_launch.end_with_parent(GRACE)
        try:
            yield
            _disconnect()
        except Exception as error:
            _first(folder, error)
            raise ranks.ToldError from error
        except Interrupted as interrupted:
            _first(folder, interrupted)
            _disconnect()
            raise
        return
    _remove_remnant(folder / WORD)
    watch = Watch(folder, record_failure)
    rank_launch.use(*alone, watch.over)
    if ranks.started_together():
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
        rank_launch.end(watch.children, patience)
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
                rank_launch.end(self.children, 0)
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
