"""train.log: one file, whatever number of processes train."""

import logging
from typing import Any

from run.ranks import is_rank_zero


class LogFile(logging.FileHandler):
    """Of rank 0; the others make no file."""

    def __init__(self, filename: str) -> None:
        super().__init__(filename, encoding="utf-8", delay=not is_rank_zero())

    def filter(self, record: logging.LogRecord) -> Any:
        return is_rank_zero() and super().filter(record)
