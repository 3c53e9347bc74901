"""The end of a job of a sweep that has no hope: worse than half of those before it were at the same epoch."""

import csv
import json
import logging
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

log = logging.getLogger(__name__)

Curve = dict[int, float]  # epoch -> the best value that was measured up to its end


class MedianStopping(Callback):
    """At the end of an epoch stop if max_{t<=e} v(t) < median_j max_{t<=e} v_j(t) (min and > for `mode` min).

    v is `monitor`, j the jobs of the same sweep (numbered folders beside `folder`) that have finished without being
    stopped by this rule. Fewer than `n_startup_trials` of them, and the epochs e < `n_warmup_epochs`, stop nothing; so
    a run outside of a sweep never is. Golovin et al. 2017 (Vizier), section 3.2.1, and Optuna's MedianPruner.

    Other jobs are known by their files alone, whatever process or machine they run on. The reason stands in
    `stopped_early`; the best checkpoint is tested, and its value returned, as ever.
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
        self.finished: dict[str, Curve] = {}  # of other jobs, by folder; empty where nothing is to be learnt from one

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        over = trainer.current_epoch + 1 == trainer.max_epochs
        reason = self.why_stop() if trainer.is_global_zero and not over else None
        self.stopped_early = trainer.strategy.broadcast(reason) if trainer.world_size > 1 else reason
        if self.stopped_early:
            trainer.should_stop = True
            log.info(self.stopped_early)

    def state_dict(self) -> dict[str, Any]:
        return {"stopped_early": self.stopped_early}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.stopped_early = state_dict["stopped_early"]

    def why_stop(self) -> str | None:
        own = read_curve(self.folder / "metrics.csv", self.monitor, self.best)
        if not own or (epoch := max(own)) < self.n_warmup_epochs:
            return None
        others = [best for curve in self.curves() if (best := at(curve, epoch)) is not None]
        if len(others) < self.n_startup_trials:
            return None
        median = statistics.median(others)
        if self.best(own[epoch], median) == own[epoch]:
            return None
        return (
            f"stopped after epoch {epoch + 1}: {self.monitor} {own[epoch]:.4g} so far; of the {len(others)} jobs that "
            f"were not stopped half had {median:.4g} by then"
        )

    def curves(self) -> list[Curve]:
        """Of the jobs that have finished and were not stopped; each is read once."""
        for job in self.folder.parent.iterdir():
            if job.name.isdecimal() and job != self.folder and job.name not in self.finished:
                record = read_record(job / "run.json")
                if record.get("status") == "finished":
                    stopped = record.get("stopped_early")
                    curve = {} if stopped else read_curve(job / "metrics.csv", self.monitor, self.best)
                    self.finished[job.name] = curve
        return list(self.finished.values())


def at(curve: Curve, epoch: int) -> float | None:
    """A job that ended before that epoch, by its patience, counts with what it had."""
    return curve[max(known)] if (known := [measured for measured in curve if measured <= epoch]) else None


def read_curve(path: Path, monitor: str, best: Callable[[float, float], float]) -> Curve:
    """Empty where there is nothing to read, or nothing that can be understood."""
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
    except (OSError, ValueError, KeyError, csv.Error):  # UnicodeDecodeError is a ValueError
        return {}
    return curve


def read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
