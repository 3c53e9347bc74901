"""The kernel's numbers tell a thread that works from one that waits."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from logger.progress import Progress, work_of


@pytest.fixture
def doing():
    """`doing(function)` -> the number of a thread that calls it until the end of the test; None: that only waits."""
    ended, threads = threading.Event(), []

    def start(function):
        def repeat():
            while not ended.is_set():
                (function or ended.wait)()

        threads.append(threading.Thread(target=repeat))
        threads[-1].start()
        return threads[-1].native_id

    yield start
    ended.set()
    for thread in threads:
        thread.join()


def looks(progress, thread, seconds, **options):
    """Look at the thread for so long; return whether it had stalled at the end."""
    end, stalled = time.monotonic() + seconds, False
    while time.monotonic() < end:
        stalled = progress.look(thread, **options)
        time.sleep(0.02)
    return stalled


def test_a_thread_that_waits_has_stalled_and_one_that_computes_has_not(doing):
    waits, computes = doing(None), doing(lambda: sum(range(1000)))
    assert looks(Progress(1.0), waits, 2.0, calls=0)
    assert not looks(Progress(1.0), computes, 2.0, calls=0)


def test_a_call_that_is_completed_ends_a_stall_and_so_does_work(doing):
    work = threading.Event()
    thread = doing(lambda: sum(range(1000)) if work.is_set() else work.wait())
    progress = Progress(0.5)
    assert looks(progress, thread, 1.0, calls=7)
    assert progress.stalled
    assert not progress.look(thread, calls=8)
    assert looks(progress, thread, 1.0, calls=8)
    work.set()
    assert not looks(progress, thread, 1.0, calls=8)


def test_a_thread_in_line_does_not_stall(doing):
    thread = doing(None)
    assert not looks(Progress(0.5), thread, 1.0, calls=0, in_line=True)


def test_without_the_kernels_numbers_only_calls_count(doing, tmp_path, monkeypatch):
    monkeypatch.setattr("logger.progress.PROC", tmp_path)
    thread, progress = doing(lambda: sum(range(1000))), Progress(0.5)
    assert looks(progress, thread, 1.0, calls=0)
    assert not progress.look(thread, calls=1)


def test_seconds_on_a_core_are_those_of_the_current_call(doing):
    thread, progress = doing(lambda: sum(range(1000))), Progress(1.0)
    looks(progress, thread, 1.0, calls=0)
    progress.look(thread, calls=0)
    before = progress.computed
    assert before > 0
    progress.look(thread, calls=1)
    assert progress.computed == 0


def test_bytes_are_counted(doing):
    thread = doing(Path(__file__).read_bytes)
    end = time.monotonic() + 60
    while work_of(thread).bytes < 3_000_000:
        assert time.monotonic() < end


@pytest.mark.processes
def test_processes_that_the_thread_started_are_counted_and_others_not(doing):
    code = "import time\nend = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass"
    starts, waits = doing(lambda: subprocess.run([sys.executable, "-c", code], check=True)), doing(None)
    most, end = 0.0, time.monotonic() + 60
    while most < 0.3 and time.monotonic() < end:
        most = max(most, work_of(starts).active)
        time.sleep(0.02)
    assert most >= 0.3
    assert work_of(waits).active < 0.3
