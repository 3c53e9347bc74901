"""train.log: one file, whatever number of processes train."""

import logging
import os
from pathlib import Path
from typing import Any

from run.atomic import explained
from run.ranks import is_rank_zero


class LogFile(logging.FileHandler):
    """Of rank 0; the others make no file, and nobody does in a run folder that may only be read.

    Raises a UserError where the file system refuses for another reason.
    """

    def __init__(self, filename: str) -> None:
        path = Path(filename)
        self.is_written = os.access(path if path.exists() else path.parent, os.W_OK)
        with explained(path):
            super().__init__(path, encoding="utf-8", delay=not (self.is_written and is_rank_zero()))

    def filter(self, record: logging.LogRecord) -> Any:
        return self.is_written and is_rank_zero() and super().filter(record)
