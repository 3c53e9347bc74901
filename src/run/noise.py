"""Warnings that say nothing to the user of this project; every other one is shown and stands in train.log."""

import logging
import warnings

NOISE = (
    r"The number of training batches .* is smaller than the logging interval",  # epochs are logged all the same
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 with torch 2.15
    r"It is recommended to use `self.log\(.*sync_dist=True",  # torchmetrics has gathered the ranks
    r"`training_step` returned `None`",  # model.skip_nonfinite
    r"Checkpoint directory .* exists and is not empty",  # a second `fit` or `test` in the same run folder
)


def filter_warnings() -> None:
    logging.captureWarnings(True)
    for pattern in NOISE:
        warnings.filterwarnings("ignore", message=pattern)
