"""Early stopping of a sweep's job that is worse than the median of earlier jobs at the same epoch."""

import csv
import logging
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from run.folder import RecordError, read_run_json

log = logging.getLogger(__name__)

Curve = dict[int, float]  # epoch -> the best value that was measured up to its end


class MedianStopping(Callback):
    """Rule that stops a training after epoch e if max_{t<=e} v(t) < median_j max_{t<=e} v_j(t).

    v is `monitor` (with `mode` min: min and >), j runs over the jobs of the same sweep that have finished without being
    stopped by this rule. Golovin et al. 2017 (Vizier), section 3.2.1, and Optuna's MedianPruner. The reason is kept in
    `stopped_early`; the best checkpoint is tested, and its value returned, as in any other job.

    Args:
        folder: run folder of this job. The other jobs are the numbered folders beside it; only their files are read,
            so they may run in any process and on any machine. A run outside of a sweep is never stopped.
        monitor: metric in metrics.csv.
        mode: `max` if higher values are better, else `min`.
        n_startup_trials: number of finished jobs below which none is stopped.
        n_warmup_epochs: number of epochs at the beginning in which no job is stopped.
    """

    def __init__(
        self, folder: str, monitor: str, mode: str, n_startup_trials: int = 5, n_warmup_epochs: int = 0
    ) -> None:
        for name, value, least in (("n_startup_trials", n_startup_trials, 1), ("n_warmup_epochs", n_warmup_epochs, 0)):
            if type(value) is not int or value < least:
                raise ValueError(f"{name}={value}: must be a whole number >= {least}")
        if mode not in ("min", "max"):
            raise ValueError(f"mode={mode}: must be min or max")
        self.folder, self.monitor, self.best = Path(folder).absolute(), monitor, {"min": min, "max": max}[mode]
        self.n_startup_trials, self.n_warmup_epochs = n_startup_trials, n_warmup_epochs
        self.stopped_early: str | None = None
        self.finished: dict[str, Curve] = {}  # by job folder; empty for a job that was stopped or cannot be read

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        over = trainer.current_epoch + 1 == trainer.max_epochs
        reason = self.reason_to_stop() if trainer.is_global_zero and not over else None
        self.stopped_early = trainer.strategy.broadcast(reason) if trainer.world_size > 1 else reason
        if self.stopped_early:
            trainer.should_stop = True
            log.info(self.stopped_early)

    def state_dict(self) -> dict[str, Any]:
        return {"stopped_early": self.stopped_early}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.stopped_early = state_dict["stopped_early"]

    def reason_to_stop(self) -> str | None:
        own = read_curve(self.folder / "metrics.csv", self.monitor, self.best)
        if not own or (epoch := max(own)) < self.n_warmup_epochs:
            return None
        others = [best for curve in self.curves() if (best := best_until(curve, epoch)) is not None]
        if len(others) < self.n_startup_trials:
            return None
        median = statistics.median(others)
        if self.best(own[epoch], median) == own[epoch]:
            return None
        return (
            f"stopped after epoch {epoch + 1}: {self.monitor} is {own[epoch]:.4g} so far; half of the {len(others)} "
            f"jobs that were not stopped had reached {median:.4g} by then"
        )

    def curves(self) -> list[Curve]:
        """Return the curves of the other jobs that have finished, empty for those that were stopped. Read each once."""
        for job in self.folder.parent.iterdir():
            if job.name.isdecimal() and job != self.folder and job.name not in self.finished:
                try:
                    record = read_run_json(job)
                except RecordError:  # the job has not begun, or its record is damaged
                    continue
                if record["status"] == "finished":
                    stopped = record.get("stopped_early")
                    curve = {} if stopped else read_curve(job / "metrics.csv", self.monitor, self.best)
                    self.finished[job.name] = curve
        return list(self.finished.values())


def best_until(curve: Curve, epoch: int) -> float | None:
    """Return the best value up to `epoch`, also if the curve ends before; None if it has no value by then."""
    return curve[max(known)] if (known := [measured for measured in curve if measured <= epoch]) else None


def read_curve(path: Path, monitor: str, best: Callable[[float, float], float]) -> Curve:
    """Return the curve of a column of metrics.csv, empty if the file is missing or damaged."""
    worst = -math.inf if best is max else math.inf
    curve: Curve = {}
    so_far = worst
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if text := row.get(monitor):
                    value = float(text)
                    so_far = best(so_far, worst if math.isnan(value) else value)
                    curve[int(row["epoch"])] = so_far
    except (OSError, ValueError, KeyError, TypeError, csv.Error):  # UnicodeDecodeError is a ValueError
        return {}
    return curve
