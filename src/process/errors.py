"""The exception for mistakes that the user can correct, and helpers for its one-line message."""

import difflib
import re
from collections.abc import Iterable

from omegaconf.errors import OmegaConfBaseException


class UserError(Exception):
    """A mistake in the command, the config or the data; its one line says what is wrong and what to do.

    Jobs raise it; only command.cli, the outermost layer, prints the line and exits with 1.

    Args:
        line: the message.
        resumable: whether a training that ends so may continue from its last checkpoint; the command for it is printed.
    """

    def __init__(self, *line: object, resumable: bool = False) -> None:
        super().__init__(*line)
        self.resumable = resumable


# torch's messages: "... (pid(s) 3, 4) exited unexpectedly", and from C++ "... (pid 3) is killed by signal: Killed. "
LOST_WORKER = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (exited unexpectedly|is killed by signal: [\w ]+)"
)


class PastHydraError(BaseException):
    """A container that carries an error past Hydra, which would print or swallow it: Hydra catches only Exception."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def find_user_error(error: BaseException) -> UserError | None:
    """Return the UserError that `error` is, or was raised from (OmegaConf wraps errors of resolvers), if any.

    An error of a process that gets no more memory becomes one, and so does that of a DataLoader whose worker has died.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        if lost := LOST_WORKER.search(str(cause)):
            return _lost_worker(lost[1], cause)
        if is_out_of_memory(cause):
            return UserError(f"out of memory: choose a smaller hparams.batch_size ({_allocation(cause)})")
        cause = cause.__cause__ or (cause.__context__ if isinstance(cause, OmegaConfBaseException) else None)
    return cause


def is_lost_worker(error: BaseException) -> bool:
    """Return whether a DataLoader has reported that one of its workers has died."""
    return LOST_WORKER.search(str(error)) is not None


def _lost_worker(end: str, error: BaseException) -> UserError:
    """Return the error for a DataLoader worker that has died; `end` says how, unless the cause of the error does."""
    if (cause := error.__cause__) and (known := LOST_WORKER.search(str(cause))):
        end = known[1]
    fewer = "choose fewer workers (data.num_workers; files.num_workers in predict.py)"
    alone = "data.num_workers=0 (files.num_workers=0 in predict.py) reads without workers and may show the reason"
    if end.endswith("Killed"):
        remedy = f"probably because memory ran out: {fewer} or a smaller hparams.batch_size"
    elif "Bus error" in end:
        remedy = f"because shared memory ran out: {fewer}, or make /dev/shm larger (docker run --shm-size)"
    else:
        remedy = f"{alone}; if memory ran out, {fewer} or a smaller hparams.batch_size"
    return UserError(f"a worker that reads the data {end.replace('is killed', 'was killed')}: {remedy}", resumable=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether Python, NumPy or torch, on CPU or GPU, got no more memory."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's, which takes seconds to import
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _allocation(error: BaseException) -> str:
    """Return the sentence of the message that says how much was asked for."""
    message = first_line(error).partition("DefaultCPUAllocator: can't allocate memory: ")[2] or first_line(error)
    return message.partition(". ")[0].rstrip(".")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to a mistyped one, if any is similar."""
    by_lower = {other.lower(): other for other in known}
    if f"hparams.{name}".lower() in by_lower:  # batch_size: the hparam is preferred to data.batch_size
        return by_lower[f"hparams.{name}".lower()]
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    return by_lower[close[0]] if close else None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
