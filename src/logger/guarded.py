"""Guard around each logger: the training continues at full speed while a logger is slow, hangs or fails."""

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

from logger.countdown import Countdown
from logger.metrics_csv import MetricsCSV
from logger.progress import Progress
from logger.run_logger import LightningLogger, RunLogger, flatten, read_rows
from process.ranks import is_rank_zero
from process.secrets import scrub

log = logging.getLogger(__name__)

INTERVAL = 2.0  # seconds between two bursts of calls: a thread that wakes for every call slows the training more
TIMEOUT = 60.0  # seconds without progress in one call, after which its logger is disabled; the training goes on
LOOK = 0.2  # seconds between two looks at the progress of loggers that are waited for


def guard(
    loggers: Sequence[Logger],
    names: Sequence[str],
    patience: float,
    limit: float,
    folder: str,
    artifacts: Mapping[str, Sequence[str]],
    images_only: bool = False,
) -> list[Logger]:
    """Return the loggers, each in a guard except metrics.csv, which a run folder must have.

    Args:
        names: the names of the loggers in the config, in the same order.
        patience: seconds that the end of the run waits for loggers that make no progress, all together.
        limit: seconds that it waits for loggers that do, all together; the patience if that is more, or if the run was
            interrupted. Also the seconds on a core that one call may take during the run.
        folder: the run folder.
        artifacts: files and folders of the run folder that loggers get at the `start` and at the `end`, if they exist.
        images_only: the run has ended. Return only the loggers that can add images to it, and let them do nothing else.
    """
    files = {when: [Path(folder, name) for name in names] for when, names in artifacts.items()}
    group = Group(patience, limit, files, images_only)
    guarded: list[Logger] = []
    if images_only:
        rows = read_rows(Path(folder, "metrics.csv"))
        last_step = int(rows[-1]["step"]) if rows else 0
        for logger, name in zip(loggers, names, strict=True):
            if isinstance(logger, RunLogger):
                guarded.append(ImagesOnly(Guarded(logger, name, group), last_step))
        return guarded
    for logger, name in zip(loggers, names, strict=True):
        if not isinstance(logger, MetricsCSV):
            logger = Guarded(logger if isinstance(logger, RunLogger) else LightningLogger(logger), name, group)
        guarded.append(logger)
    return guarded


class Group:
    """The guards of one run, the files that they pass on, and the time until which the run's end waits for them."""

    def __init__(self, patience: float, limit: float, files: Mapping[str, list[Path]], images_only: bool) -> None:
        self.patience, self.limit = patience, max(patience, limit)
        self.files, self.images_only = files, images_only
        self.guards: list[Guarded] = []
        self.deadline: float | None = None
        self.too_late = ""  # what is said of a logger that is not done at the deadline

    def end(self, record: dict[str, Any]) -> None:
        """End all loggers with the run's record, once; wait for those that make progress, and disable the others."""
        if self.deadline is None:
            self._begin_to_end(record)
        try:
            self._wait()
        except BaseException:  # a signal: wait one more second at most
            self.deadline, self.too_late = time.monotonic() + 1, "when the wait was interrupted"
            self._wait()
            raise
        finally:
            late = [guard for guard in self.guards if guard.is_working()]
            for guard in late:
                guard.disable_late(self.too_late, late)

    def _begin_to_end(self, record: dict[str, Any]) -> None:
        # a cluster kills an interrupted run, often 30 s after its signal
        is_urgent = record["status"] == "interrupted" and not self.images_only
        name = "patience" if is_urgent or self.limit == self.patience else "limit"
        seconds = getattr(self, name)
        self.deadline, self.too_late = time.monotonic() + seconds, f"{seconds:g} s after the end (guard.{name})"
        for guard in self.guards:
            guard.begin_to_close(record, Progress(self.patience))

    def _wait(self) -> None:
        """Wait until each guard has closed or stalled, or until the deadline."""
        assert self.deadline is not None
        with Countdown() as countdown:
            while (seconds := self.deadline - time.monotonic()) > 0:
                working = [guard for guard in self.guards if guard.is_working()]
                looks = [guard.look() for guard in working]
                if all(looks):
                    return
                countdown.show([guard.name for guard in working], seconds)
                working[0].done.wait(min(LOOK, seconds))

    def still_recorded_by(self, without: Sequence["Guarded"] = ()) -> str:
        """Return a clause that says where the run, or its figures, are still recorded."""
        if self.images_only:
            return "the run folder has the figures nevertheless"
        remaining = [guard.name for guard in self.guards if not guard.disabled and guard not in without]
        return f"this run is still recorded by {' and '.join(['metrics.csv', *remaining])}"


class Guarded(Logger):
    """Logger that passes each call on to `logger` in a thread, and disables it at its first error or timeout.

    The training's own thread only appends to a queue. Ranks other than 0 log nothing.
    """

    name, version = "", ""

    def __init__(self, logger: RunLogger, name: str, group: Group) -> None:
        super().__init__()
        self.logger, self.name, self.group = logger, name, group
        logger.ended = group.images_only
        group.guards.append(self)
        self.calls: deque[tuple[Any, tuple[Any, ...]]] = deque()
        self.thread: threading.Thread | None = None
        self.completed, self.progress, self.next_look = 0, Progress(TIMEOUT), 0.0
        self.closing, self.disabling = threading.Event(), threading.Lock()
        # the end of the thread: Python 3.11 takes a thread for ended if a signal interrupts `join`
        self.done = threading.Event()
        self.busy_since: float | None = None
        self.current_call = "open"
        self.disabled = not is_rank_zero()
        self.left = False  # its thread hangs and is not waited for
        self.last_step = -1

    @property
    def experiment(self) -> "Deferred":
        """The library's own object for the run; its methods are called later, in the guard's thread."""
        return Deferred(self)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        step = step or 0
        self.last_step = max(self.last_step, step)
        self.enqueue(self.logger.log_metrics, dict(metrics), step, time.time())

    def log_hyperparams(self, params: Mapping[str, Any], *_: Any, **__: Any) -> None:  # type: ignore[override]
        self.enqueue(self.logger.log_hyperparams, flatten(params))

    def log_image(self, name: str, image_HWC: ndarray, step: int) -> None:
        self.enqueue(self.logger.log_image, name, image_HWC, step)

    def log_histogram(self, name: str, counts: ndarray, edges: ndarray, step: int) -> None:
        self.enqueue(self.logger.log_histogram, name, counts, edges, step)

    def log_artifact(self, path: Path) -> None:
        self.enqueue(self.logger.log_artifact, path)

    def log_graph(self, model: LightningModule, *_: Any) -> None:  # type: ignore[override]
        """Show the model to a logger that watches it, in the training's own thread, before the first step."""
        if not self.disabled:
            try:
                self.logger.log_graph(model)
            except Exception as error:
                self._disable(describe_error(error))

    def state_dict(self) -> dict[str, int]:
        """Return the last step that was logged, for the checkpoint."""
        return {"last_step": self.last_step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.last_step = state["last_step"]
        self.enqueue(self.logger.resume_at, self.last_step)

    def close(self, record: dict[str, Any]) -> None:
        """End the logger with the run's record; the first call closes all guards of the run together."""
        self.group.end(record)

    def enqueue(self, call: Any, *arguments: Any) -> None:
        """Have the guard's thread make this call."""
        self._check_current_call()
        if self.disabled or self.closing.is_set():
            return
        if self.thread is None:
            self.thread = threading.Thread(target=self._work, name=f"logger {self.name}", daemon=True)
            self._enqueue_artifacts("start")
            self.thread.start()
        self.calls.append((call, arguments))

    def begin_to_close(self, record: dict[str, Any], progress: Progress) -> None:
        """Have the guard's thread make its last calls; `progress` is looked at from now on."""
        # a job of a sweep is recorded even if it ended before it logged anything
        if self.thread is not None or record.get("sweep"):
            self.enqueue(self.logger.flush)
            if not self.logger.ended:
                self.enqueue(self.logger.end, record)
            self._enqueue_artifacts("end")
            self.enqueue(self.logger.close, record)
        self.progress = progress
        self.closing.set()

    def is_working(self) -> bool:
        """Return whether the end of the run may have to wait for this guard."""
        return self.thread is not None and not (self.done.is_set() or self.left)

    def look(self) -> bool:
        """Return whether the guard's thread has stalled."""
        assert self.thread is not None
        return self.progress.look(self.thread.native_id, self.completed, self.logger.in_line)

    def disable_late(self, too_late: str, together: Sequence["Guarded"]) -> None:
        """Disable the logger, which is not done when the end of the run stops waiting for all in `together`."""
        if self.progress.stalled:
            why = f"no progress at `{self.current_call}` for {self.progress.seconds:g} s (guard.patience)"
        else:
            why = f"still at `{self.current_call}` {too_late}"
        self._disable(", ".join(filter(None, [why, self.logger.remedy])), together)

    def _check_current_call(self) -> None:
        """Disable the logger if its current call makes no progress, or has computed for longer than the limit."""
        since, now = self.busy_since, time.monotonic()
        if since is None or now - since < TIMEOUT or now < self.next_look:
            return
        self.next_look = now + LOOK
        if self.look():  # the thread worked before: the first look may take that for progress of this call
            self._disable(f"no progress at `{self.current_call}` for {TIMEOUT:g} s")
        elif self.progress.computed > self.group.limit:
            self._disable(f"`{self.current_call}` has computed for {self.group.limit:g} s (guard.limit)")

    def _enqueue_artifacts(self, when: str) -> None:
        for path in self.group.files[when]:
            if path.exists():
                self.log_artifact(path)

    def _work(self) -> None:
        closed = False
        try:
            self._call(self.logger.open)
            while not (closed or self.disabled):
                self.closing.wait(INTERVAL)
                while self.calls and not self.disabled:
                    call, arguments = self.calls.popleft()
                    self._call(call, *arguments)
                    closed = self.current_call == "close"
                if not (closed or self.disabled):
                    self._call(self.logger.flush)
        except BaseException as error:  # also SystemExit, which some libraries raise
            self._disable(describe_error(error))
        finally:
            self.done.set()

    def _call(self, call: Any, *arguments: Any) -> None:
        self.busy_since, self.current_call = time.monotonic(), call.__name__
        call(*arguments)
        self.busy_since = None
        self.completed += 1

    def _disable(self, why: str, together: Sequence["Guarded"] = ()) -> None:
        """Disable the logger and report that once; the guards in `together` are about to be disabled too."""
        with self.disabling:
            if self.disabled:
                return
            self.disabled, self.left = True, threading.current_thread() is not self.thread
        self.busy_since = None
        self.calls.clear()
        where = f" ({scrub(self.logger.where)})" if self.logger.where else ""
        log.warning(f"{self.name}{where}: {scrub(why)}; {self.group.still_recorded_by(together)}")


class ImagesOnly(Logger):
    """Logger that adds images to a run that has ended, as figures/NAME at its last step; it ignores metrics."""

    name, version = "", ""

    def __init__(self, guarded: Guarded, last_step: int) -> None:
        super().__init__()
        self.guarded, self.name, self.last_step = guarded, guarded.name, last_step

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run has its own."""

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run has its own."""

    def log_image(self, name: str, image_HWC: ndarray, step: int) -> None:
        self.guarded.log_image(f"figures/{Path(name).name}", image_HWC, self.last_step)

    def close(self, record: dict[str, Any]) -> None:
        self.guarded.close(record)


class Deferred:
    """Attribute of `logger.experiment`, as in `logger.experiment.add_text("a", "b")`: the guard's thread calls it."""

    def __init__(self, guard: Guarded, path: tuple[str, ...] = ()) -> None:
        self.guard, self.path = guard, path

    def __getattr__(self, name: str) -> "Deferred":
        return Deferred(self.guard, (*self.path, name))

    def __call__(self, *arguments: Any, **options: Any) -> None:
        def call() -> None:
            target: Any = self.guard.logger.experiment
            for name in self.path:
                target = getattr(target, name)
            target(*arguments, **options)

        self.guard.enqueue(call)


def describe_error(error: BaseException) -> str:
    """Return one line: the operating system's message if that is the cause, else the error's own first lines."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.strerror):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, OSError):
        return f"{cause.strerror}: {cause.filename}" if cause.filename else str(cause.strerror)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])[:300]}" if lines else type(error).__name__
