"""The line that says for which loggers the end of a run waits, and for how long at most."""

import logging
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from process.console import Terminal, open_console

log = logging.getLogger(__name__)

SILENT = 2.0  # seconds of a wait that needs no words


class Countdown:
    """Context of a wait: on a terminal one line that counts down and goes at the end, else one message and no more."""

    def __init__(self) -> None:
        verbosity = max((each.verbosity for each in logging.root.handlers if isinstance(each, Terminal)), default=0)
        self.console = open_console(verbosity)
        self.start = time.monotonic()
        self.status: Any = None  # rich's line on the terminal
        self.is_reported = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.status is not None:
            self.status.stop()

    def show(self, names: Sequence[str], seconds: float) -> None:
        """Say that the end waits for these loggers, and how many seconds at most from now on; call it often."""
        if time.monotonic() - self.start < SILENT:
            return
        text = f"waiting for {' and '.join(names)}, {seconds:.0f} s at most; Ctrl-C leaves now"
        if not self.console.is_terminal:
            if not self.is_reported:
                log.info(text)
            self.is_reported = True
        elif self.status is None:
            self.status = self.console.status(text, spinner="line")
            self.status.start()
        else:
            self.status.update(text)
