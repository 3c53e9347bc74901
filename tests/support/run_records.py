"""Run folders that hold only a run.json, as run/record.py writes it."""

import json
from pathlib import Path
from typing import Any


def make_run(folder: Path, **facts: Any) -> Path:
    """Make a run folder; `facts` replace or add entries of run.json."""
    record = {"status": "finished", "comment": None, "settings": {}, "metrics": {}, "host": "elsewhere"}
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record | facts), encoding="utf-8")
    return folder


def make_sweep(outputs: Path, accuracies: dict[float, list[float]]) -> None:
    """Make the jobs of a sweep; `accuracies` maps a learning rate to the test accuracies of seeds 0, 1, ..."""
    job = 0
    for lr, values in accuracies.items():
        for seed, accuracy in enumerate(values):
            make_run(
                outputs / "Default" / "2026-11-20" / "09-00-00" / str(job),
                started=f"2026-11-20T09:00:{job:02}.000+00:00",
                settings={"data": "digits", "hparams.lr": lr, "hparams.seed": seed},
                metrics={"test_accuracy": accuracy, "test_loss": 1 - accuracy, "valid_accuracy": accuracy / 2},
            )
            job += 1
