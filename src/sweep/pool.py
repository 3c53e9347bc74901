"""Pool of workers for hydra/launcher=joblib, in which a worker that is killed loses its own job only.

joblib.Parallel has one executor for all workers, which kills the others with the first that is killed. Here each worker
is an executor of its own, and a new one takes the place of one that was killed.
"""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any

from adapter.hydra_launchers import Call
from adapter.joblib import describe_end, new_worker


class Pool:
    """Workers that are kept from one batch of a search to the next, since each imports torch anew.

    Args:
        lost: called with a job's call and how its process ended; returns the job's result.
    """

    def __init__(self, lost: Callable[[Call, str], Any]) -> None:
        self.lost = lost
        self.idle: list[Any] = []
        self.running: dict[Future[Any], tuple[int, Call, Any]] = {}

    def run(self, calls: list[Call], n_jobs: int) -> list[Any]:
        """Return the results of all calls, of which `n_jobs` run at a time."""
        waiting, results = list(enumerate(calls))[::-1], {}
        try:
            while waiting or self.running:
                while waiting and len(self.running) < n_jobs:
                    self._start(*waiting.pop(), n_jobs)
                for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                    number, call, worker = self.running.pop(future)
                    self.idle.append(worker)  # one that was killed refuses the next job
                    try:
                        results[number] = future.result()
                    except BrokenExecutor as error:
                        results[number] = self.lost(call, describe_end(error))
        except BaseException:
            self.close()
            raise
        return [results[number] for number in range(len(calls))]

    def close(self) -> None:
        """Kill all workers."""
        for worker in [*self.idle, *(worker for *_, worker in self.running.values())]:
            worker.shutdown(kill_workers=True)

    def _start(self, number: int, call: Call, n_jobs: int) -> None:
        function, arguments, keywords = call
        worker = self.idle.pop() if self.idle else new_worker(n_jobs)
        try:
            self.running[worker.submit(function, *arguments, **keywords)] = number, call, worker
        except BrokenExecutor:  # it was killed while it had no job
            self._start(number, call, n_jobs)
