"""A guard around a logger: it may be slow, hang or fail, training goes on.

A server that is gone, a full disk or a bad token must not cost a night's training, nor a slow network its pace.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy import ndarray
from pytorch_lightning import LightningModule
from pytorch_lightning.loggers import Logger

from logger.lightning_logger import LightningLogger
from logger.metrics_csv import MetricsCSV
from logger.run_logger import RunLogger
from process.ranks import is_rank_zero
from process.secrets import scrub

log = logging.getLogger(__name__)

INTERVAL = 2.0  # seconds: a thread that works in bursts costs the training less than one that wakes for every call
SILENCE = 60.0  # seconds without an answer in mid-run until a logger is given up; nobody waits for it


def guard(
    loggers: Sequence[Logger],
    names: Sequence[str],
    patience: float,
    folder: str,
    artifacts: Mapping[str, Sequence[str]],
) -> list[Logger]:
    """Each logger in a guard but metrics.csv, which is the record that the run folder must have.

    `patience`: seconds that the end of the run waits for its loggers, in all. `artifacts`: what of the run folder is
    handed on at the `start` and at the `end`, as far as it is there.
    """
    files = {when: [Path(folder, name) for name in names] for when, names in artifacts.items()}
    group = Group(patience, files)
    kept: list[Logger] = []
    for logger, name in zip(loggers, names, strict=True):
        if not isinstance(logger, MetricsCSV):
            logger = Guarded(logger if isinstance(logger, RunLogger) else LightningLogger(logger), name, group)
        kept.append(logger)
    return kept


class Group:
    """What the guards of one run share: who they are, what they hand on, until when its end waits for them."""

    def __init__(self, patience: float, files: Mapping[str, list[Path]]) -> None:
        self.patience, self.files = patience, files
        self.guards: list[Guarded] = []
        self.deadline: float | None = None

    def wait(self) -> None:
        """Until all have closed, or the deadline."""
        for guard in self.guards:
            if guard.thread is not None and self.deadline is not None:
                guard.thread.join(max(0.0, self.deadline - time.monotonic()))

    def consolation(self, without: Sequence["Guarded"] = ()) -> str:
        """What still records the run, in words."""
        still = [guard.name for guard in self.guards if not guard.lost and guard not in without]
        return f"this run is still recorded by {' and '.join(['metrics.csv', *still])}"


class Guarded(Logger):
    """Hand each call to `logger` in a thread; what it raises, or its silence, is said once and ends it.

    The training's own thread only appends to a queue. On ranks other than 0 nothing is logged.
    """

    def __init__(self, logger: RunLogger, name: str, group: Group) -> None:
        super().__init__()
        self.logger, self._name, self.group = logger, name, group
        group.guards.append(self)
        self.calls: deque[tuple[Any, tuple[Any, ...]]] = deque()
        self.thread: threading.Thread | None = None
        self.closing, self.giving_up = threading.Event(), threading.Lock()
        self.busy_since: float | None = None
        self.at = "open"
        self.lost = not is_rank_zero()
        self.last_step = -1

    @property
    def name(self) -> str:
        return self._name

    @property
    def version(self) -> str:
        return ""

    @property
    def experiment(self) -> "Later":
        """What the library calls the run: its methods can be called, later and in the guard's thread."""
        return Later(self)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        step = step or 0
        self.last_step = max(self.last_step, step)
        self.later(self.logger.log_metrics, dict(metrics), step, time.time())

    def log_hyperparams(self, params: dict[str, Any], *_: Any, **__: Any) -> None:  # type: ignore[override]
        self.later(self.logger.log_hyperparams, dict(params))

    def log_image(self, name: str, image_HWC: ndarray, step: int) -> None:
        self.later(self.logger.log_image, name, image_HWC, step)

    def log_histogram(self, name: str, counts: ndarray, edges: ndarray, step: int) -> None:
        self.later(self.logger.log_histogram, name, counts, edges, step)

    def log_artifact(self, path: Path) -> None:
        self.later(self.logger.log_artifact, path)

    def log_graph(self, model: LightningModule, *_: Any) -> None:  # type: ignore[override]
        """At the start, in the training's own thread: for a logger that watches the model."""
        if not self.lost:
            try:
                self.logger.log_graph(model)
            except Exception as error:
                self._lose(reason(error))

    def state_dict(self) -> dict[str, int]:
        """How far the curves are, for a checkpoint."""
        return {"last_step": self.last_step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.last_step = state["last_step"]
        self.later(self.logger.resume_at, self.last_step)

    def close(self, record: dict[str, Any]) -> None:
        """End with what run.json says; the guards of a run end together, whichever is closed first."""
        if self.group.deadline is None:
            self.group.deadline = time.monotonic() + self.group.patience
            for each in self.group.guards:
                each._begin_to_close(record)
        try:
            self.group.wait()
        except BaseException:  # a signal: nobody waits much longer
            self.group.deadline = min(self.group.deadline, time.monotonic() + 1)
            self.group.wait()
            raise
        finally:
            late = [each for each in self.group.guards if each.thread is not None and each.thread.is_alive()]
            for each in late:
                each._lose(f"still at `{each.at}` {self.group.patience:g} s after the end (guard.patience)", late)

    def later(self, call: Any, *arguments: Any) -> None:
        """Have the thread call this."""
        since = self.busy_since
        if since is not None and time.monotonic() - since > SILENCE:
            self._lose(f"no answer for {SILENCE:g} s")
        if self.lost or self.closing.is_set():
            return
        if self.thread is None:
            self.thread = threading.Thread(target=self._work, name=f"logger {self.name}", daemon=True)
            self._hand_on("start")
            self.thread.start()
        self.calls.append((call, arguments))

    def _begin_to_close(self, record: dict[str, Any]) -> None:
        # a job of a sweep that ended before anything was logged is missed by nobody else
        if self.thread is not None or record.get("sweep"):
            self.later(self.logger.flush)
            if not self.logger.ended:
                self.later(self.logger.end, record)
            self._hand_on("end")
            self.later(self.logger.close, record)
        self.closing.set()

    def _hand_on(self, when: str) -> None:
        for path in self.group.files[when]:
            if path.exists():
                self.log_artifact(path)

    def _work(self) -> None:
        closed = False
        try:
            self._call(self.logger.open)
            while not (closed or self.lost):
                self.closing.wait(INTERVAL)
                while self.calls and not self.lost:
                    call, arguments = self.calls.popleft()
                    self._call(call, *arguments)
                    closed = self.at == "close"
                if not (closed or self.lost):
                    self._call(self.logger.flush)
        except BaseException as error:  # also SystemExit, with which some libraries end
            self._lose(reason(error))

    def _call(self, call: Any, *arguments: Any) -> None:
        self.busy_since, self.at = time.monotonic(), call.__name__
        call(*arguments)
        self.busy_since = None

    def _lose(self, why: str, together: Sequence["Guarded"] = ()) -> None:
        with self.giving_up:
            if self.lost:
                return
            self.lost = True
        self.busy_since = None
        self.calls.clear()
        where = f" ({scrub(self.logger.where)})" if self.logger.where else ""
        log.warning(f"{self.name}{where}: {scrub(why)}; {self.group.consolation(together)}")


class Later:
    """`logger.experiment.add_text("a", "b")`: the attributes are looked up and called in the guard's thread."""

    def __init__(self, guard: Guarded, path: tuple[str, ...] = ()) -> None:
        self.guard, self.path = guard, path

    def __getattr__(self, name: str) -> "Later":
        return Later(self.guard, (*self.path, name))

    def __call__(self, *arguments: Any, **options: Any) -> None:
        def call() -> None:
            target: Any = self.guard.logger.experiment
            for name in self.path:
                target = getattr(target, name)
            target(*arguments, **options)

        self.guard.later(call)


def reason(error: BaseException) -> str:
    """In one line: what the operating system said, if it did, else the error's own first line."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.strerror):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, OSError):
        return f"{cause.strerror}: {cause.filename}" if cause.filename else str(cause.strerror)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])[:300]}" if lines else type(error).__name__
