"""Tell a logger that a busy machine slows down from one that waits for a dead server, by what the kernel counts."""

import time
from collections.abc import Iterator
from contextlib import suppress
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
        self.calls, self.worked, self.bytes = 0, 0.0, 0

    def look(self, thread: int | None, calls: int, in_line: bool = False) -> bool:
        """Return whether the thread has stalled; look often.

        Args:
            thread: its number in the operating system, None where that is unknown.
            calls: how many it has completed.
            in_line: whether it waits for another process of this machine, which counts as progress.
        """
        now = time.monotonic()
        worked, read_and_written = (0.0, 0) if thread is None else work(thread)
        if (
            in_line
            or calls != self.calls
            # a difference of either sign: the sums become smaller when a process ends
            or abs(worked - self.worked) > WORK * self.seconds
            or abs(read_and_written - self.bytes) > BYTES * self.seconds
        ):
            self.since, self.calls, self.worked, self.bytes = now, calls, worked, read_and_written
        self.stalled = now - self.since >= self.seconds
        return self.stalled


def work(thread: int) -> tuple[float, int]:
    """Return the seconds and bytes of work of a thread of this process, and of the processes that it started."""
    seconds, size = 0.0, 0
    for task in _tasks(PROC / "self" / "task" / str(thread)):
        with suppress(OSError, ValueError):  # it has ended
            on_a_core, waited, _ = (task / "schedstat").read_text().split()
            seconds += (int(on_a_core) + int(waited)) / 1e9
        with suppress(OSError, ValueError, IndexError):
            lines = (task / "io").read_text().split()
            size += int(lines[1]) + int(lines[3])  # rchar, wchar
    return seconds, size


def _tasks(task: Path) -> Iterator[Path]:
    """Yield a thread's folder, and those of all threads of the processes that it started, and so on."""
    yield task
    with suppress(OSError):
        for process in (task / "children").read_text().split():
            for thread in (PROC / process / "task").iterdir():
                yield from _tasks(thread)
