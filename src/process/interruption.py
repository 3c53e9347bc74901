"""Ctrl-C, SIGTERM (docker stop, a scheduler) and a lost terminal: the first ends a job in order, a second at once."""

import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SAME = 0.3  # seconds within which a shell, a process group and a container runtime may pass on one and the same wish

how_to_go_on: list[Callable[[], str]] = []  # for who was interrupted; nothing where all is done

_owner = os.getpid()
_received: int | None = None
_received_at = 0.0
_deferred = False
_at_first: list[Callable[[int], None]] = []
_at_abort: list[Callable[[], None]] = []


class Interrupted(BaseException):
    """A signal ended the job. No Exception: it passes whatever catches errors, and so ends a sweep as well."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)  # alone, so that it can be pickled: out of a worker of a sweep
        self.signum, self.exit_code = signum, 128 + signum

    def __str__(self) -> str:
        return f"interrupted by {signal.Signals(self.signum).name}"


def remedies() -> list[str]:
    return [remedy for ask in how_to_go_on if (remedy := ask())]


@contextmanager
def heeded() -> Iterator[None]:
    """Within the block a signal raises Interrupted: where it arrives, or, while `defer` holds, where `check` is called.

    A second signal calls what `at_abort` was given and ends the process. Threads other than the first see no signals.
    """
    global _owner, _received
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _owner, _received = os.getpid(), None
    before = {signum: signal.getsignal(signum) for signum in _signals()}
    take()
    try:
        yield
    finally:
        defer(False)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def take() -> None:
    """Install the handlers, also over those of Lightning; what nohup ignores stays ignored."""
    if threading.current_thread() is threading.main_thread():
        for signum in _signals():
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, _handle)


def _signals() -> tuple[int, ...]:
    return (*SIGNALS, signal.SIGUSR2) if _scheduled() else SIGNALS


def _scheduled() -> bool:
    """Whether a scheduler ends this process: submitit has a handler of SIGUSR2, which announces a time limit."""
    return hasattr(signal, "SIGUSR2") and callable(signal.getsignal(signal.SIGUSR2))


def defer(on: bool) -> None:
    """Whether somebody now calls `check` often enough to be waited for."""
    global _deferred
    _deferred = on


def asked() -> bool:
    """Whether a signal has come that still waits for `check`."""
    return _received is not None


def check() -> None:
    """Raise Interrupted if a signal has come."""
    if _received is not None:
        raise Interrupted(_received)


@contextmanager
def at_first(action: Callable[[int], None]) -> Iterator[None]:
    """Within the block, what to do with a first signal before Interrupted is raised; a second one ends it."""
    _at_first.append(action)
    try:
        yield
    finally:
        _at_first.remove(action)


@contextmanager
def at_abort(action: Callable[[], None]) -> Iterator[None]:
    """Within the block, what to do between a second signal and the end of the process."""
    _at_abort.append(action)
    try:
        yield
    finally:
        _at_abort.remove(action)


def _handle(signum: int, frame: FrameType | None) -> None:
    global _received, _received_at
    if os.getpid() != _owner:  # forked off, a worker that loads images: Ctrl-C comes to it too, but the job ends it
        return
    now = time.monotonic()
    if _received is not None:
        if now - _received_at > SAME and not _scheduled():  # it announces, ends and kills: none of them is impatient
            _abort(signum)
        return
    _received, _received_at = signum, now
    if signal.Signals(signum).name == "SIGHUP":
        _leave_terminal()
    for action in _at_first:
        action(signum)
    if not _deferred:
        raise Interrupted(signum)


def _leave_terminal() -> None:
    """It is gone: what is still said goes nowhere, where it would fail. A file to which it is redirected stays."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if stat.S_ISCHR(os.fstat(stream).st_mode):
            os.dup2(nowhere, stream)
    os.close(nowhere)


def _abort(signum: int) -> NoReturn:
    try:
        for action in _at_abort:
            action()
        os.write(2, ("; ".join([f"{Interrupted(signum)}, at once", *remedies()]) + "\n").encode())
    finally:
        os._exit(128 + signum)
