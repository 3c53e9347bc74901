"""What libraries say that tells the user of this project nothing: in train.log, but not on the terminal."""

import logging
import os
import re
import warnings

NOISE = (
    r"The number of training batches .* is smaller than the logging interval",  # epochs are logged all the same
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 with torch 2.15
    r"torch.distributed.nn.functional.all_gather is deprecated",  # Lightning 2.6 with torch 2.15
    r"The `srun` command is available on your system but is not used",  # Lightning, on any machine of a cluster
    r"It is recommended to use `self.log\(.*sync_dist=True",  # torchmetrics has gathered the ranks
    r"`training_step` returned `None`",  # model.skip_nonfinite
    r"Image size .* could be decompression bomb",  # Pillow, from 89 megapixels on: from 179 on it refuses to read
    r"Checkpoint directory .* exists and is not empty",  # a second `fit` or `test` in the same run folder
)
# what goes wrong in them a logger's guard says, once
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}  # read when it is imported


def filter_warnings() -> None:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    for pattern in NOISE:
        warnings.filterwarnings("default", message=pattern)  # never an error


def is_noise(record: logging.LogRecord) -> bool:
    return record.name == "py.warnings" and any(re.search(pattern, record.getMessage()) for pattern in NOISE)
