"""The result of a training: what run.json and the closing table say of the tested checkpoint, and of the last epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytorch_lightning import Trainer


@dataclass(frozen=True)
class Best:
    """The best checkpoint, its epoch counted from 1 (None: unknown), its score, and the metrics of that epoch."""

    path: Path
    score: float
    epoch: int | None
    metrics: Mapping[str, float]


def best_of(trainer: "Trainer") -> Best | None:
    """Return the best checkpoint of a training; None if none was written: the last weights are tested."""
    from pytorch_lightning.callbacks import ModelCheckpoint

    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.best_model_score is not None:
            score, path = float(callback.best_model_score), Path(callback.best_model_path)
            monitor = str(callback.monitor)
            metrics = getattr(callback, "best_metrics", {}) or {monitor: score}
            score = float(metrics.get(monitor, score))  # Lightning takes NaN for the worst number
            index = getattr(callback, "best_epoch", None)
            return Best(path, score, None if index is None else index + 1, metrics)
    return None


@dataclass(frozen=True)
class Result:
    """The best checkpoint of a training, what its test has measured, and the metrics of the last of `epochs` epochs."""

    best: Best | None
    tested: Mapping[str, float]
    last_metrics: Mapping[str, float]
    epochs: int

    @property
    def score(self) -> float | None:
        return None if self.best is None else self.best.score

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the tested checkpoint."""
        return in_order({**(self.last_metrics if self.best is None else self.best.metrics), **self.tested})

    def facts(self) -> dict[str, Any]:
        """Return the entries of run.json."""
        return {
            "best_checkpoint": self.best and f"checkpoints/{self.best.path.name}",
            "best_epoch": self.best and self.best.epoch,
            "best_score": self.score,
            "metrics": self.metrics,
            "last_metrics": in_order(self.last_metrics),
        }

    def rows(self) -> dict[str, Any]:
        """Return the rows of the closing table; those of the last epoch only where they tell something else."""
        rows: dict[str, Any] = self.metrics
        last = in_order(self.last_metrics)
        repeats = last.items() <= rows.items()
        if self.best is not None and self.best.epoch is not None:
            rows["best epoch"] = f"{self.best.epoch} of {self.epochs}"
        if not repeats:
            rows |= {f"last epoch: {name}": value for name, value in last.items()}
        return rows | {"best checkpoint": "none" if self.best is None else self.best.path}


def in_order(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics sorted by name, and test_accuracy/n=4 before test_accuracy/n=16."""
    names = sorted(metrics, key=lambda name: (name.partition("=")[0], len(name), name))
    return {name: float(metrics[name]) for name in names}
