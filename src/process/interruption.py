"""Signals (Ctrl-C, SIGTERM, a lost terminal): the first one lets a job save and end, a second one ends it at once."""

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
SAME_SIGNAL = 0.3  # seconds within which shell, process group and container runtime may each deliver one Ctrl-C

remedy_sources: list[Callable[[], str]] = []  # each returns how to continue what was interrupted, or "" if it is done

_owner = os.getpid()
_received: int | None = None
_received_at = 0.0
_deferred = False
_first_signal_actions: list[Callable[[int], None]] = []
_abort_actions: list[Callable[[], None]] = []


class Interrupted(BaseException):
    """The end of a job by a signal. No Exception: it must pass whatever catches errors, and so end a sweep too."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)  # one argument: a sweep's worker pickles it
        self.signum, self.exit_code = signum, 128 + signum

    def __str__(self) -> str:
        return f"interrupted by {signal.Signals(self.signum).name}"


def remedies() -> list[str]:
    """Return how to continue, for the message about the interruption."""
    return [remedy for source in remedy_sources if (remedy := source())]


@contextmanager
def handle_signals() -> Iterator[None]:
    """Raise Interrupted for a signal in the block: at once or, while `defer(True)` holds, at the next `check()`.

    A second signal calls the actions of `on_abort` and ends the process. In threads other than the main one this does
    nothing: signals reach the main thread only.
    """
    global _owner, _received
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _owner, _received = os.getpid(), None
    before = {signum: signal.getsignal(signum) for signum in _signals()}
    install_handlers()
    try:
        yield
    finally:
        defer(False)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def install_handlers() -> None:
    """Install the handlers, also in place of Lightning's; a signal that nohup ignores stays ignored."""
    if threading.current_thread() is threading.main_thread():
        for signum in _signals():
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, _handle)


def _signals() -> tuple[int, ...]:
    return (*SIGNALS, signal.SIGUSR2) if _in_submitit_job() else SIGNALS


def _in_submitit_job() -> bool:
    """Return whether submitit has installed its handler of SIGUSR2, which announces a time limit."""
    return hasattr(signal, "SIGUSR2") and callable(signal.getsignal(signal.SIGUSR2))


def defer(on: bool) -> None:
    """Let a signal wait for the next `check()`; use it where `check()` is called often."""
    global _deferred
    _deferred = on


def is_pending() -> bool:
    """Return whether a signal has come and waits for `check()`."""
    return _received is not None


def check() -> None:
    """Raise Interrupted if a signal has come."""
    if _received is not None:
        raise Interrupted(_received)


@contextmanager
def on_first_signal(action: Callable[[int], None]) -> Iterator[None]:
    """Call `action` with the first signal in the block, before Interrupted is raised."""
    _first_signal_actions.append(action)
    try:
        yield
    finally:
        _first_signal_actions.remove(action)


@contextmanager
def on_abort(action: Callable[[], None]) -> Iterator[None]:
    """Call `action` at a second signal in the block, before the process ends."""
    _abort_actions.append(action)
    try:
        yield
    finally:
        _abort_actions.remove(action)


def _handle(signum: int, frame: FrameType | None) -> None:
    global _received, _received_at
    if os.getpid() != _owner:  # a forked DataLoader worker also gets Ctrl-C, but the job ends it
        return
    now = time.monotonic()
    if _received is not None:
        if now - _received_at > SAME_SIGNAL and not _in_submitit_job():  # a scheduler sends several signals on its own
            _abort(signum)
        return
    _received, _received_at = signum, now
    if signal.Signals(signum).name == "SIGHUP":
        _leave_terminal()
    for action in _first_signal_actions:
        action(signum)
    if not _deferred:
        raise Interrupted(signum)


def _leave_terminal() -> None:
    """Send further output to /dev/null, as writing to a lost terminal fails. Output into a file stays."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if stat.S_ISCHR(os.fstat(stream).st_mode):
            os.dup2(nowhere, stream)
    os.close(nowhere)


def _abort(signum: int) -> NoReturn:
    try:
        for action in _abort_actions:
            action()
        os.write(2, ("; ".join([f"{Interrupted(signum)}, at once", *remedies()]) + "\n").encode())
    finally:
        os._exit(128 + signum)
