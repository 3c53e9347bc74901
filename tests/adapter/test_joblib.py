"""The private names of joblib: each test fails by the name that moved."""

import os
import signal
from concurrent.futures import BrokenExecutor

import joblib
import pytest
from joblib._parallel_backends import LokyBackend
from joblib.externals import loky

from adapter.joblib import describe_end, new_worker


def test_prepare_worker_env_divides_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(joblib._parallel_backends, "cpu_count", lambda: 8)
    assert LokyBackend()._prepare_worker_env(2)["OMP_NUM_THREADS"] == "4"
    assert issubclass(loky.ProcessPoolExecutor, loky.Executor)


@pytest.mark.processes
def test_an_executor_of_one_process_whose_message_names_the_signal():
    worker = new_worker(2)
    assert worker.submit(os.getpid).result() == worker.submit(os.getpid).result() != os.getpid()
    with pytest.raises(BrokenExecutor) as raised:
        worker.submit(signal.raise_signal, signal.SIGTERM).result()
    assert describe_end(raised.value) == "was killed by SIGTERM"
    with pytest.raises(BrokenExecutor):
        worker.submit(os.getpid)
    worker.shutdown(kill_workers=True)
