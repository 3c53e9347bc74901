"""Files that are replaced as a whole (written beside the target, synced, renamed), and paths that a user typed."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from process.errors import UserError

REMEDIES = {
    errno.ENOSPC: "free some space; what was written before is whole, and a training goes on by resume=",
    errno.EDQUOT: "free some of your quota; what was written before is whole, and a training goes on by resume=",
    errno.ENOENT: "its folder is gone; start anew",
    errno.EEXIST: "choose another name",
    errno.ENOTDIR: "choose another name",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
}


@contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file in the target's folder that takes the target's place when the block ends without error.

    Raises a UserError where the file system refuses, and for what is no file: a device would be lost, /dev/stdout too.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"cannot write {path}: that is no file; choose another name")
    with explained(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())  # mkstemp's 0600 would hide the run from colleagues
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def refuse_closed(folder: Path, remedy: str) -> None:
    """Raise a UserError, before anything is done, where nothing may be written: a colleague's run, or no folder."""
    if folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise UserError(f"cannot write into {folder}: choose another place, {remedy}")


def remove_remnants(folder: Path) -> None:
    """What a kill in the middle of writing leaves in a run folder: as large as a checkpoint, and of no use."""
    for path in (*folder.glob(".*.????????"), *folder.glob("checkpoints/.*.????????")):
        path.unlink(missing_ok=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """An OSError while `path` is written becomes a UserError that says what to do."""
    try:
        yield
    except OSError as error:
        number = error.errno or (errno.ENOSPC if os.strerror(errno.ENOSPC) in str(error) else 0)  # copytree has a list
        reason = os.strerror(number) if number else str(error)
        raise UserError(f"cannot write {path}: {reason}; {REMEDIES.get(number, 'is the disk in order?')}") from error


def write_json(path: Path, content: Any) -> None:
    with replacing(path) as file:
        json.dump(content, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def _umask() -> int:
    mask = os.umask(0)  # the only way to read it is to set it
    os.umask(mask)
    return mask


def typed_path(name: str, text: str, remedy: str) -> Path:
    """With ~ as a home. Raises a UserError that names the setting where the file system does not take it."""
    try:
        path = Path(text).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (OSError, RuntimeError, ValueError) as error:  # too long, in a closed folder; ~ of nobody; a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{name}={text}: {reason}: {remedy}") from error
    return path
