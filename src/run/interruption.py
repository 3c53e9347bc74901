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

_received: int | None = None
_received_at = 0.0
_deferred = False
_at_abort: list[Callable[[], None]] = []


class Interrupted(BaseException):
    """A signal ended the job. No Exception: it passes whatever catches errors, and so ends a sweep as well."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum


@contextmanager
def heeded() -> Iterator[None]:
    """Within the block a signal raises Interrupted: where it arrives, or, while `defer` holds, where `check` is called.

    A second signal calls what `at_abort` was given and ends the process. Threads other than the first see no signals.
    """
    global _received
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _received = None
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
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
        for signum in SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, _handle)


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
def at_abort(action: Callable[[], None]) -> Iterator[None]:
    """Within the block, what to do between a second signal and the end of the process."""
    _at_abort.append(action)
    try:
        yield
    finally:
        _at_abort.remove(action)


def _handle(signum: int, frame: FrameType | None) -> None:
    global _received, _received_at
    now = time.monotonic()
    if _received is not None:
        if now - _received_at > SAME:
            _abort(signum)
        return
    _received, _received_at = signum, now
    if signal.Signals(signum).name == "SIGHUP":
        _leave_terminal()
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
    finally:
        os._exit(128 + signum)
