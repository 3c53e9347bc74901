"""The time that a sweep adds to its trainings, one and two at once; wall-clock seconds, one thread per job."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import ratio, row

TRAIN = Path(__file__).parents[2] / "src" / "train.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PAIRS = 2
# what a training imports, which a sweep does once
IMPORTS = (
    "import torch._dynamo, torchvision, pytorch_lightning, mlflow, datamodule.digits, model, metrics,"
    "network.patch_set, callback.evidence, callback.monitor, logger.mlflow, logger.tensorboard"
)


def seconds(folder: str, *command: str) -> float:
    start = time.monotonic()
    subprocess.run([sys.executable, *command], cwd=folder, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def train(folder: str, epochs: int, *overrides: str) -> float:
    return seconds(folder, str(TRAIN), "data=digits", f"hparams.max_epochs={epochs}", "verbosity=0", *overrides)


def latest_jobs(folder: str) -> list[dict]:
    sweep = max(Path(folder).glob("multirun/*/*/*"), key=lambda path: path.stat().st_mtime)
    return [
        json.loads((sweep / str(job) / "run.json").read_text()) for job in range(len(list(sweep.glob("*/run.json"))))
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        train(folder, 1)  # makes MLflow's database
        alone, serial, later, shortest = [], [], [], []
        for _ in range(PAIRS):
            imports = seconds(folder, "-c", f"import sys; sys.path.insert(0, {str(TRAIN.parent)!r}); {IMPORTS}")
            alone.append(sum(train(folder, 16, f"hparams.seed={seed}") for seed in range(8)) - 7 * imports)
            serial.append(train(folder, 16, "hparams.seed=range(8)", "-m"))
            jobs = latest_jobs(folder)
            shortest += [job["training"]["seconds"] for job in jobs]
            later.append(max(job["seconds"] for job in jobs[1:]) / jobs[0]["seconds"])
        row("8 jobs serially / 8 trainings alone, with one import", ratio(serial, alone), "goal <= 1.1")
        row("the longest of jobs 2 to 8 / job 1, which imports", f"{max(later):.2f}", "goal <= 1")
        row("shortest training, s", f"{min(shortest):.1f}", "at least 5")

        one, two = [], []
        for _ in range(PAIRS):
            one.append(train(folder, 64, "hparams.seed=range(4)", "-m"))
            two.append(
                train(folder, 64, "hparams.seed=range(4)", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "-m")
            )
        row("4 jobs serially / two at once (hydra/launcher=joblib)", ratio(one, two), "goal >= 1.4")
        row(
            "shortest training, s",
            f"{min(job['training']['seconds'] for job in latest_jobs(folder)):.1f}",
            "at least 20",
        )
