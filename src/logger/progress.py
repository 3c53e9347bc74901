"""Tell a logger that a busy machine slows down from one that waits for a dead server, by what the kernel counts."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")  # elsewhere than on Linux, and where it lacks a file, only completed calls are progress
# of the time: on a busy machine, a thread that waits for a dead server works for 0.01, and an import for nearly all
WORK = 0.05
BYTES = 20_000  # per second: an upload reads its file as fast as it sends


class Progress:
    """Progress of one thread: calls that it completed, and the work of it and of the processes that it started.

    Work is the time on a core, the time of waiting for a free one, and the bytes that are read and written.

    Args:
        seconds: without progress, after which the thread has stalled.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.stalled = False  # the answer of the last look
        self.since = time.monotonic()
        self.work = Work()
        self.calls = -1
        self.computed = self.computed_before = 0.0  # seconds on a core, in the current call and before

    def look(self, thread: int | None, calls: int, in_line: bool = False) -> bool:
        """Return whether the thread has stalled; look often.

        Args:
            thread: its number in the operating system, None where that is unknown.
            calls: how many it has completed.
            in_line: whether it waits for another process of this machine, which counts as progress.
        """
        now, work = time.monotonic(), Work() if thread is None else work_of(thread)
        if calls != self.calls:
            self.computed_before = work.computed
        # differences of either sign: the sums become smaller when a process ends
        is_active = abs(work.active - self.work.active) > WORK * self.seconds
        moves = abs(work.bytes - self.work.bytes) > BYTES * self.seconds
        if in_line or calls != self.calls or is_active or moves:
            self.since, self.calls, self.work = now, calls, work
        self.stalled = now - self.since >= self.seconds
        self.computed = work.computed - self.computed_before
        return self.stalled


@dataclass
class Work:
    """Work of threads: seconds on a core, these and the seconds of waiting for one, and bytes read and written."""

    computed: float = 0.0
    active: float = 0.0
    bytes: int = 0


def work_of(thread: int) -> Work:
    """Return the work of a thread of this process, and of the processes that it started."""
    work = Work()
    for task in _tasks(PROC / "self" / "task" / str(thread)):
        with suppress(OSError, ValueError):  # it has ended
            computed, waited, _ = map(int, (task / "schedstat").read_text().split())
            work.computed += computed / 1e9
            work.active += (computed + waited) / 1e9
        with suppress(OSError, ValueError, IndexError):
            lines = (task / "io").read_text().split()
            work.bytes += int(lines[1]) + int(lines[3])  # rchar, wchar
    return work


def _tasks(task: Path) -> Iterator[Path]:
    """Yield a thread's folder, and those of all threads of the processes that it started, and so on."""
    yield task
    with suppress(OSError):
        for process in (task / "children").read_text().split():
            for thread in (PROC / process / "task").iterdir():
                yield from _tasks(thread)
