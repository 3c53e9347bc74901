"""Helpers for tests of interrupted and resumed runs: the options of a short training, the comparison of two runs."""

from pathlib import Path

import torch
from runs import record
from torch import Tensor

SHORT = ("data=digits", "data.limit_train=300", "hparams.batch_size=64", "hparams.max_epochs=3", "trainer=cpu")
SAVING = ("+trainer.log_every_n_steps=2", "callbacks.last.every_n_steps=2")
LAST = "checkpoints/last.ckpt"


def weights(folder: Path) -> dict[str, Tensor]:
    return torch.load(folder / LAST, weights_only=True)["state_dict"]


def assert_same(one: Path, other: Path) -> None:
    """Compare weights and metrics.csv bit for bit, and the results in run.json."""
    assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
    mine, theirs = weights(one), weights(other)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    mine, theirs = record(one), record(other)
    assert mine["status"] == theirs["status"] == "finished"
    for name in ("metrics", "last_metrics", "best_score", "best_epoch", "best_checkpoint", "lr"):
        assert mine[name] == theirs[name], name
