"""Extra CPU time per training step of each logger at the default interval, threads and the last flush included.

Measured with ten times as many rows, and divided by ten: what a row costs is lost in the noise of 50 steps.
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import pytorch_lightning as pl
from sides import BATCH, RandomBytes, our_model, quiet
from step_cost import STEPS, Tiny
from timing import in_turn, row

from adapter import lightning
from callback.monitor import GradientNorm, LearningRate, SystemMetrics, Throughput
from logger.guarded import guard
from logger.metrics_csv import MetricsCSV
from logger.mlflow import MLflow
from logger.neptune import Neptune
from logger.tensorboard import TensorBoard
from logger.wandb import WandB
from process.files import write_json

EPOCHS = 5
INTERVAL, DEFAULT = 5, 50  # steps between two rows: here, and in a training
RECORD = {
    **{"id": "0" * 32, "sweep": None, "comment": None, "tags": [], "command": "bench", "git": None, "host": "here"},
    **{"experiment_name": "bench", "settings": {}, "status": "finished", "metrics": {}},
}
LOGGERS = {
    "metrics.csv": lambda folder: [MetricsCSV(folder)],
    "metrics.csv + tensorboard": lambda folder: [MetricsCSV(folder), TensorBoard(folder)],
    "metrics.csv + mlflow on SQLite": lambda folder: [MetricsCSV(folder), MLflow(folder, "bench", f"{folder}/mlruns")],
    "metrics.csv + wandb, offline": lambda folder: [
        MetricsCSV(folder),
        WandB(folder, "bench", "offline", "step", None, 1, 5),
    ],
    "metrics.csv + neptune, offline": lambda folder: [MetricsCSV(folder), Neptune(folder, None, "offline", 5)],
}
GOALS = {"metrics.csv + tensorboard": "goal <= 20", "metrics.csv + mlflow on SQLite": "goal <= 50"}


class Drained(pl.Callback):
    """CPU time from the second epoch until the guards have written everything; opening and closing are not counted."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            self._wait(trainer)
            self.start = time.process_time()

    def on_train_end(self, trainer, pl_module):
        self._wait(trainer)
        self.seconds = time.process_time() - self.start

    def _wait(self, trainer):
        for logger in trainer.loggers:
            if hasattr(logger, "logger"):
                logger.enqueue(logger.logger.flush)
                while (logger.calls or logger.busy_since) and not logger.disabled:
                    time.sleep(0.01)
                assert not logger.disabled


def side(build) -> float:
    folder = tempfile.mkdtemp()
    write_json(Path(folder, "run.json"), RECORD)
    loggers = build(folder)
    loggers = guard(loggers, [logger.name for logger in loggers], 10, 120, folder, {"start": [], "end": []})
    timer = Drained()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        log_every_n_steps=INTERVAL,
        logger=loggers or False,
        callbacks=[LearningRate(), GradientNorm(), Throughput(), SystemMetrics(), timer],
        profiler=lightning.no_profiler(),
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    for logger in loggers:
        logger.log_hyperparams({"lr": 0.001})
    trainer.fit(our_model(Tiny()), RandomBytes((1, 8, 8), STEPS * BATCH))
    for logger in loggers:
        if hasattr(logger, "close"):
            logger.close(RECORD)
    return timer.seconds


def main() -> None:
    quiet()
    figures = in_turn({"none": lambda: side(lambda _: []), **{n: lambda b=b: side(b) for n, b in LOGGERS.items()}})
    for name in LOGGERS:
        pairs = zip(figures[name], figures["none"], strict=True)
        extra = sorted((seconds - none) / ((EPOCHS - 1) * STEPS) * INTERVAL / DEFAULT * 1e6 for seconds, none in pairs)
        row(name, f"{median(extra):.0f} us a step ({extra[0]:.0f} to {extra[-1]:.0f})", GOALS.get(name, ""))
