"""Logger that takes long to close: `+loggers.slow={_target_: slow_logger.Slow, seconds: 600}`."""

import time
from typing import Any

from logger.run_logger import RunLogger


class Slow(RunLogger):
    """Logger that computes for so many seconds when the run has ended."""

    def __init__(self, seconds: float) -> None:
        super().__init__("")
        self.seconds = seconds

    def close(self, record: dict[str, Any]) -> None:
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            pass
