"""Progress of a sweep: a line for each job that ends, and at the end a table, read from the jobs' run.json."""

import logging
import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from process.console import format_duration, format_number
from run.folder import RecordError, read_run_json, shown
from run.sweep_record import REFUSED, refusal
from sweep import workers
from table.collect import RunRecord, read_runs
from table.query import as_text
from table.rows import is_repeat, make_table
from table.terminal import show

log = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds
FAILED = ("failed", "dead", "damaged")
ENDED = ("finished", "interrupted", *FAILED)


class Progress:
    """Jobs of the sweep in `folder` that have ended; `varied` are the settings in which the jobs differ."""

    def __init__(self, folder: Path, varied: dict[str, list[str] | None], config: DictConfig) -> None:
        self.folder, self.varied = folder, list(varied)
        self.monitor, self.mode = config.hparams.monitor, config.hparams.monitor_mode
        self.total = jobs(varied, config)
        self.began = time.monotonic()
        self.lock = threading.RLock()  # the watching thread, the end of a job and a signal may report at the same time
        self.runs: dict[int, RunRecord] = {}
        self.changed: dict[int, int] = {}  # job that has ended -> when its run.json was last written
        self.vanished: dict[int, int] = {}  # job whose process has vanished -> the same time
        self.stopped: set[int] = set()  # ids of processes
        for job in self._folders():
            self._read(job)
        self.runs = {job: run for job, run in self.runs.items() if run.facts["status"] == "finished"}
        self.before = self.finished
        already = f", {self.before} of them finished already" if self.before else ""
        log.info(f"{shown(folder)}: {self.total} job{'s' * (self.total != 1)}{already}")

    @property
    def finished(self) -> int:
        return sum(run.facts["status"] == "finished" for run in self.runs.values())

    @property
    def left(self) -> int:
        return self.total - self.finished

    @property
    def best(self) -> tuple[int, RunRecord] | None:
        scores = {job: run.facts["best_score"] for job, run in self.runs.items() if _score(run) is not None}
        if not scores:
            return None
        job = (max if self.mode == "max" else min)(scores, key=scores.__getitem__)
        return job, self.runs[job]

    def label(self, run: RunRecord) -> str:
        """Return the settings that distinguish this job from the others."""
        known = run.known
        values = {name: known[name] for name in self.varied if name in known}
        return " ".join(f"{name}={f'{v:.4g}' if isinstance(v, float) else as_text(v)}" for name, v in values.items())

    def report_ended(self, wait_for_reason: bool = False) -> None:
        """Report the jobs that have ended since the last call.

        With `wait_for_reason` a job whose process has vanished is left for the next call: the pool of workers records
        meanwhile which signal killed it.
        """
        with self.lock:
            for job in self._folders():
                if self._read(job, wait_for_reason):
                    self._report(job, self.runs[job])

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Report ended jobs every second, from a thread."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(INTERVAL):
                self.report_ended(wait_for_reason=True)
                self._report_stopped()

        thread = threading.Thread(target=watch, name="sweep", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def wait(self) -> None:
        """Wait until no job runs."""
        while True:
            self.report_ended()
            runs = read_runs(str(self.folder / str(job)) for job in self._folders())
            if all(run.facts["status"] != "running" for run in runs):
                return
            time.sleep(INTERVAL / 5)

    def _report_stopped(self) -> None:
        """Report each process that a signal has stopped: the sweep would wait for it without a word."""
        found = {process.pid for process in workers.stopped()}
        for pid in sorted(found - self.stopped):
            job = next((f"job #{job}, " for job in self._folders() if _process(self.folder / str(job)) == pid), "")
            log.warning(f"{job}process {pid} is stopped, and the sweep waits for it: kill -CONT {pid} continues it")
        self.stopped = found

    def _folders(self) -> list[int]:
        found = (int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())
        return sorted(job for job in found if job not in self.runs or self.runs[job].facts["status"] != "finished")

    def _read(self, job: int, wait_for_reason: bool = False) -> bool:
        """Read the record of a job; return whether it has ended since it was last read."""
        path = self.folder / str(job)
        changed = max(_changed(path / "run.json"), _changed(path / REFUSED))
        if changed == self.changed.get(job, 0):
            return False
        (run,) = read_runs([str(path)])
        if why := refusal(path):
            run = replace(run, facts={**run.facts, "status": "failed", "error": why})
        if run.facts["status"] not in ENDED:
            return False
        if run.facts["status"] == "dead" and wait_for_reason and self.vanished.get(job) != changed:
            self.vanished[job] = changed
            return False
        self.runs[job], self.changed[job] = run, changed
        return True

    def _report(self, job: int, run: RunRecord) -> None:
        status = run.facts["status"]
        score, end = _score(run), status
        if status in FAILED:
            end = f"failed: {reason(run)}"
        elif status == "finished" and score is not None:
            end = f"finished: {self.monitor} {format_number(score)}"
        words = [f"{len(self.runs)}/{self.total} jobs", f"#{job} {end}"]
        if self.best is not None and status == "finished":
            best, its = self.best
            words.append(f"best #{best} {format_number(its.facts['best_score'])} {self.label(its)}".rstrip())
        done = len(self.runs) - self.before
        if status != "interrupted" and done and (rest := self.total - len(self.runs)):
            words.append(f"{format_duration((time.monotonic() - self.began) / done * rest)} left")
        (log.error if status in FAILED else log.info)("  ".join(words))


def _process(folder: Path) -> int | None:
    """Return the id of the process that ran the job last."""
    try:
        record = read_run_json(folder)
    except RecordError:
        return None
    return [record, *record.get("resumed", [])][-1].get("pid")


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def jobs(varied: dict[str, list[str] | None], config: DictConfig) -> int:
    """Return the number of jobs: the trials of a search, or all combinations of the values."""
    combinations = math.prod(len(values) if values is not None else 1 for values in varied.values())
    trials = config.hydra.sweeper.get("n_trials")
    return combinations if trials is None else trials


def reason(run: RunRecord) -> str:
    """Return why the job failed."""
    silent = "it ended without an error message: killed, out of memory, or disk full?"
    return str(run.facts.get("error", silent)).removeprefix("UserError: ")


def _score(run: RunRecord) -> float | None:
    score = run.facts.get("best_score")
    return score if isinstance(score, int | float) and math.isfinite(score) else None


def print_table(progress: Progress) -> None:
    """Print a table of the jobs, the best first by hparams.monitor, and below it why the others failed."""
    runs = []
    for job, run in sorted(progress.runs.items()):
        facts = {name: value for name, value in run.facts.items() if name != "error"}
        runs.append(replace(run, facts={**facts, "folder": str(job)}))
    show(make_table(runs, sort=progress.monitor))
    failures: dict[str, list[str]] = {}
    for job, run in sorted(progress.runs.items()):
        if run.facts["status"] in FAILED:
            failures.setdefault(reason(run), []).append(f"#{job}")
    for why, jobs in failures.items():
        print(f"{', '.join(jobs)} failed: {why}", file=sys.stderr)
    folder = shown(progress.folder)
    if any(is_repeat(name) for name in progress.varied) and progress.finished > 1:
        print(f"mean ± std over seeds and folds: python src/report.py {folder} group=true", file=sys.stderr)
