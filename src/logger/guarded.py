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

from logger.metrics_csv import MetricsCSV
from logger.run_logger import LightningLogger, RunLogger, flatten, read_rows
from process.ranks import is_rank_zero
from process.secrets import scrub

log = logging.getLogger(__name__)

INTERVAL = 2.0  # seconds between two bursts of calls: a thread that wakes for every call slows the training more
TIMEOUT = 60.0  # seconds that one call may take during the run before its logger is disabled; the training goes on


def guard(
    loggers: Sequence[Logger],
    names: Sequence[str],
    patience: float,
    folder: str,
    artifacts: Mapping[str, Sequence[str]],
    images_only: bool = False,
) -> list[Logger]:
    """Return the loggers, each in a guard except metrics.csv, which a run folder must have.

    Args:
        names: the names of the loggers in the config, in the same order.
        patience: seconds that the end of the run waits for its loggers, all together.
        folder: the run folder.
        artifacts: files and folders of the run folder that loggers get at the `start` and at the `end`, if they exist.
        images_only: the run has ended. Return only the loggers that can add images to it, and let them do nothing else.
    """
    files = {when: [Path(folder, name) for name in names] for when, names in artifacts.items()}
    group = Group(patience, files, images_only)
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

    def __init__(self, patience: float, files: Mapping[str, list[Path]], images_only: bool) -> None:
        self.patience, self.files, self.images_only = patience, files, images_only
        self.guards: list[Guarded] = []
        self.deadline: float | None = None

    def wait(self) -> None:
        """Wait until all guards have closed, or until the deadline."""
        for guard in self.guards:
            if guard.thread is not None and self.deadline is not None:
                guard.thread.join(max(0.0, self.deadline - time.monotonic()))

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
        self.closing, self.disabling = threading.Event(), threading.Lock()
        self.busy_since: float | None = None
        self.current_call = "open"
        self.disabled = not is_rank_zero()
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
        if self.group.deadline is None:
            self.group.deadline = time.monotonic() + self.group.patience
            for guard in self.group.guards:
                guard._begin_to_close(record)
        try:
            self.group.wait()
        except BaseException:  # a signal: wait one more second at most
            self.group.deadline = min(self.group.deadline, time.monotonic() + 1)
            self.group.wait()
            raise
        finally:
            late = [guard for guard in self.group.guards if guard.thread is not None and guard.thread.is_alive()]
            for guard in late:
                seconds = f"{self.group.patience:g} s after the end (guard.patience)"
                guard._disable(f"still at `{guard.current_call}` {seconds}", late)

    def enqueue(self, call: Any, *arguments: Any) -> None:
        """Have the guard's thread make this call."""
        since = self.busy_since
        if since is not None and time.monotonic() - since > TIMEOUT:
            self._disable(f"no answer for {TIMEOUT:g} s")
        if self.disabled or self.closing.is_set():
            return
        if self.thread is None:
            self.thread = threading.Thread(target=self._work, name=f"logger {self.name}", daemon=True)
            self._enqueue_artifacts("start")
            self.thread.start()
        self.calls.append((call, arguments))

    def _begin_to_close(self, record: dict[str, Any]) -> None:
        # a job of a sweep is recorded even if it ended before it logged anything
        if self.thread is not None or record.get("sweep"):
            self.enqueue(self.logger.flush)
            if not self.logger.ended:
                self.enqueue(self.logger.end, record)
            self._enqueue_artifacts("end")
            self.enqueue(self.logger.close, record)
        self.closing.set()

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

    def _call(self, call: Any, *arguments: Any) -> None:
        self.busy_since, self.current_call = time.monotonic(), call.__name__
        call(*arguments)
        self.busy_since = None

    def _disable(self, why: str, together: Sequence["Guarded"] = ()) -> None:
        """Disable the logger and report that once; the guards in `together` are about to be disabled too."""
        with self.disabling:
            if self.disabled:
                return
            self.disabled = True
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
