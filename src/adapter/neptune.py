"""Names of the neptune client that its documentation does not list."""

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neptune import Run


def keep_random_state() -> None:
    """Have neptune draw the names of its folders from a generator of its own, not from the run's random state."""
    from neptune.internal.operation_processors import utils

    utils.random = random.Random()  # type: ignore[assignment]


def unattended_run() -> "type[Run]":
    """Return a class of runs that ignores forks and the exit of Python, at which a Run would wait for its server."""
    from neptune import Run

    class UnattendedRun(Run):
        def _before_fork(self) -> None: ...

        def _handle_fork_in_parent(self) -> None: ...

        def _handle_fork_in_child(self) -> None: ...

        def _shutdown_hook(self) -> None: ...

    return UnattendedRun
