"""Files that are replaced atomically (written beside the target, synced, renamed) or appended to; paths that are typed.

Neither way writes through a link, into a pipe or into a device.
"""

import errno
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from process.errors import UserError

_NUMBERS = re.compile(r"\[\n[-+.\deE,\s]+\]")  # a list of an indented JSON; no text in it has a line break
REMEDIES = {
    errno.ENOSPC: "free some space; earlier files are intact, and resume= continues a training",
    errno.EDQUOT: "free some of your quota; earlier files are intact, and resume= continues a training",
    errno.ENOENT: "its folder is missing: create it, or start a new run if it was removed",
    errno.EEXIST: "choose another name",
    errno.ENOTDIR: "choose another name",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
}


@contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that replaces it when the block ends without error.

    Raises a UserError where the file system refuses, and where `path` is no regular file: replacing would destroy a
    device such as /dev/stdout.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"cannot write {path}: that is no file; choose another name")
    with explain_os_errors(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.umask(mask := os.umask(0))  # the only way to read it is to set it
            temporary.chmod(0o666 & ~mask)  # mkstemp's 0600 would hide the run from colleagues
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def open_regular(path: Path, mode: str = "a", newline: str | None = None) -> IO[Any]:
    """Open a text file to write into it where it stands, and create it if it is missing.

    Raises a UserError for a link, a pipe or a device: what is written there would be written elsewhere, or wait.
    """
    with explain_os_errors(path):
        return open(path, mode, newline=newline, encoding="utf-8", opener=_open_regular)


def _open_regular(path: str, flags: int) -> int:
    refusal = UserError(f"cannot write {path}: it is a link or no regular file; remove it")
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a pipe that nobody reads
            raise refusal from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise refusal
    return handle


def refuse_unwritable(folder: Path, remedy: str) -> None:
    """Raise a UserError if `folder` is no folder or may not be written, such as the run of a colleague."""
    if folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise UserError(f"cannot write into {folder}: choose another place, {remedy}")


def remove_temporary_files(folder: Path) -> None:
    """Remove the temporary files, as large as a checkpoint, of a process that was killed while writing to a run."""
    for path in (*folder.glob(".*.????????"), *folder.glob("checkpoints/.*.????????")):
        path.unlink(missing_ok=True)


@contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn an OSError while `path` is written into a UserError that says what to do."""
    try:
        yield
    except OSError as error:
        full = os.strerror(errno.ENOSPC) in str(error)  # copytree joins several errors into one without a number
        number = error.errno or (errno.ENOSPC if full else 0)
        reason = os.strerror(number) if number else str(error)
        raise UserError(f"cannot write {path}: {reason}; {REMEDIES.get(number, 'is the disk healthy?')}") from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, in which NaN and infinity are texts, as JSON does not know them.

    A list of numbers stands in one line: a confusion matrix of 1,000 classes has 1,000 lines, not a million.
    """
    with replacing(path) as file:
        text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
        file.write(f"{_NUMBERS.sub(_in_one_line, text)}\n")


def _in_one_line(numbers: re.Match[str]) -> str:
    return "".join(numbers[0].split()).replace(",", ", ")


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not know, by text."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def path_from_setting(name: str, text: str, remedy: str) -> Path:
    """Return the path that the setting `name` was given as `text`, with ~ expanded.

    Raises a UserError with the `remedy` where the file system does not accept the path.
    """
    try:
        path = Path(text).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (OSError, RuntimeError, ValueError) as error:  # too long, no permission; ~ of an unknown user; a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{name}={text}: {reason}: {remedy}") from error
    return path
