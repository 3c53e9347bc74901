"""The pool of joblib's workers: one that is killed loses its own job only."""

import os
import signal
import time
from concurrent.futures import BrokenExecutor

import psutil
import pytest

from sweep.pool import Pool

pytestmark = pytest.mark.processes


def work(seconds, result):
    time.sleep(seconds)
    return result, os.getpid()


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def leave():
    os._exit(3)


def is_broken(worker):
    try:
        worker.submit(int).result()
    except BrokenExecutor:
        return True
    return False


def call(function, *arguments):
    return function, arguments, {}


@pytest.fixture
def pool():
    pool = Pool(lambda call, how: how)
    yield pool
    pool.close()


def test_each_result_at_its_place_and_the_lost_ones_say_how(pool):
    calls = [call(work, 2, "slow"), call(kill_itself), call(work, 0, "quick"), call(leave), call(work, 0, "last")]
    slow, killed, quick, left, last = pool.run(calls, 2)
    assert (slow[0], quick[0], last[0]) == ("slow", "quick", "last")
    assert (killed, left) == ("was killed by SIGKILL", "ended with exit code 3")


def test_workers_are_kept_for_the_next_batch_and_one_killed_meanwhile_is_replaced(pool):
    before = {process for _, process in pool.run([call(work, 0.5, 0)] * 2, 2)}
    assert {process for _, process in pool.run([call(work, 0.5, 0)] * 2, 2)} == before
    killed = before.pop()
    os.kill(killed, signal.SIGKILL)
    while not any(map(is_broken, pool.idle)):
        time.sleep(0.1)
    after = {process for _, process in pool.run([call(work, 0.5, 0)] * 2, 2)}
    assert len(after) == 2
    assert killed not in after
    assert before < after


def test_an_error_ends_the_workers(pool):
    with pytest.raises(ZeroDivisionError):
        pool.run([call(work, 100, 0), call(divmod, 1, 0)], 2)
    workers = [child for child in psutil.Process().children() if "LokyProcess" in " ".join(child.cmdline())]
    assert psutil.wait_procs(workers, timeout=60)[1] == []
