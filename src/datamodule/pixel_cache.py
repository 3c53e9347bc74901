"""Decoded images in the user's cache folder: the next run maps them into memory instead of decoding them again.

An entry is one file: HEADER bytes, then uint8 [N, C, H, W]. Its name is a hash of all that decides the pixels, among
them the size and the times of each image file. Variables of the environment, FOLDER and LIMIT, say where the folder is
and how large it may grow. No config does: that of a run folder from somebody else must not choose them.
"""

import hashlib
import json
import logging
import math
import os
import shutil
import stat
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from process.errors import UserError
from process.files import replacing

log = logging.getLogger(__name__)

# N images, C channels, H height, W width

GIB = 2**30
HEADER = 4096  # bytes, so that the pixels begin with a page
ENDING = ".pixels"
LIMIT_GIB = 20.0
FOLDER = "PATCH_SETS_CACHE"  # environment variables
LIMIT = "PATCH_SETS_CACHE_GIB"
SETTLED = 2.0  # seconds; a file may change once more without another time, as the clocks of file systems have steps
POLL_INTERVAL = 0.1  # seconds
ABANDONED = 86400  # seconds after which the temporary file of a process that was killed is removed


def cached(
    facts: dict[str, Any],
    shape: Sequence[int],
    decode: Callable[[], Tensor],
    unchanged: Callable[[], bool],
    what: str,
) -> Tensor:
    """Return the uint8 images [N, C, H, W] of `facts`: those in the cache, else what `decode` returns, which is kept.

    Of several processes that need the same images, one decodes, and the others wait for it. Where the cache cannot be
    used (no home, a read-only folder, a full disk), the images are decoded, with one line in the log.

    Args:
        facts: all that decides the pixels; JSON.
        shape: [N, C, H, W].
        unchanged: whether the files are still those of `facts` once they are decoded; else nothing is kept.
        what: the images, for the log.
    """
    path = _path(facts)
    if path is None:
        log.info(f"decoded images are not kept: this user has no home; {FOLDER} names another folder")
        return decode()
    limit = limit_bytes()
    images = _read(path, shape)
    if images is not None:
        return images
    size = math.prod(shape)
    if size > limit:
        log.info(f"{what}: decoded images of {_gib(size)} are not kept: {LIMIT}={limit / GIB:g}")
        return decode()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(f"{path.parent}: not writable")
    except OSError as error:
        log.info(f"{what}: decoded images are not kept ({error}): data.cache=false, or set {FOLDER}")
        return decode()
    with _lock(path, what):
        images = _read(path, shape)  # another process may have decoded them meanwhile
        if images is None:
            images = decode()
            if unchanged():
                _write(path, images, limit, what)
    return images


def find(facts: dict[str, Any], shape: Sequence[int]) -> Tensor | None:
    """Return the images [N, C, H, W] of `facts` if they are in the cache."""
    path = _path(facts)
    return None if path is None else _read(path, shape)


def is_settled(times: Sequence[float]) -> bool:
    """Return whether files that were changed at these times would get other times if they were changed from now on."""
    return max(times, default=0.0) < time.time() - SETTLED


def cache_folder() -> Path | None:
    """Return the folder of the cache; None if it is not set and the user has no home."""
    if given := os.environ.get(FOLDER):  # where docker/run.sh mounts it
        return Path(given).absolute()
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not caches.is_absolute():  # also where it is not set
        try:
            caches = Path.home() / ".cache"
        except RuntimeError:
            return None
    return caches / "patch_sets"


def limit_bytes() -> float:
    """Return how many bytes the cache may have. Raises a UserError for a limit that is no number."""
    text = os.environ.get(LIMIT, "") or str(LIMIT_GIB)
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise UserError(f"{LIMIT}={text}: give a number of GiB, such as {LIMIT_GIB:g}")
    return limit * GIB


def _path(facts: dict[str, Any]) -> Path | None:
    folder = cache_folder()
    text = json.dumps(facts, sort_keys=True).encode()
    return None if folder is None else folder / f"{hashlib.sha256(text).hexdigest()[:40]}{ENDING}"


def _read(path: Path, shape: Sequence[int]) -> Tensor | None:
    """Map the images of an entry; None if there is none. One that is damaged or too short is none."""
    import numpy as np

    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode) or facts.st_size != HEADER + math.prod(shape):
                return None
            header = file.read(HEADER)
            # private: what a process writes into its images stays its own
            pixels_NCHW = np.memmap(file, np.uint8, "c", HEADER, tuple(shape))
    except OSError:
        return None
    if header != _header(path, shape, zlib.crc32(pixels_NCHW.data)):
        log.debug(f"{path}: damaged: made anew")
        return None
    with suppress(OSError):  # of a folder that is read-only
        os.utime(path)  # the entries that were used last stay longest
    return torch.from_numpy(pixels_NCHW)


def _header(path: Path, shape: Sequence[int], checksum: int) -> bytes:
    text = json.dumps({"entry": path.name, "shape": list(shape), "crc32": checksum})
    return text.encode().ljust(HEADER)


def _write(path: Path, images_NCHW: Tensor, limit: float, what: str) -> None:
    """Write an entry, and remove those that were used longest ago where the cache exceeds its limit."""
    size = HEADER + images_NCHW.nbytes
    _remove_oldest(path.parent, limit - size)
    try:
        if size > (free := shutil.disk_usage(path.parent).free) / 2:  # checkpoints need room too
            log.info(f"{what}: decoded images of {_gib(size)} are not kept: {path.parent} has {_gib(free)} left")
            return
        pixels_NCHW = images_NCHW.numpy()
        with replacing(path, "wb") as file:
            file.write(_header(path, images_NCHW.shape, zlib.crc32(pixels_NCHW.data)))
            file.write(pixels_NCHW)
    except (OSError, UserError) as error:
        log.info(f"{what}: decoded images are not kept ({error})")
        return
    log.info(f"{what}: decoded images are kept in {path.parent} ({_gib(size)}) unless data.cache=false")


def _remove_oldest(folder: Path, limit: float) -> None:
    """Remove the entries that were used longest ago until the others take at most `limit` bytes."""
    now, entries = time.time(), []
    with suppress(OSError), os.scandir(folder) as files:
        for file in files:
            with suppress(OSError):
                facts = file.stat(follow_symlinks=False)
                if file.name.endswith(ENDING) and not file.name.startswith("."):
                    entries.append((facts.st_mtime, facts.st_size, file.path))
                elif f"{ENDING}." in file.name and facts.st_mtime < now - ABANDONED:
                    Path(file.path).unlink()
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit:
            break
        with suppress(OSError):
            Path(path).unlink()  # a run that has mapped it keeps its pixels
            total -= size


@contextmanager
def _lock(path: Path, what: str) -> Iterator[None]:
    """Let one process at a time make an entry. Where the file system has no locks, several may."""
    import fcntl

    place = path.with_name(f".{path.name}.lock")
    try:
        handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError:
        yield
        return
    waits = False
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waits:
                    log.info(f"{what}: waiting for another process that decodes these images")
                waits = True
                time.sleep(POLL_INTERVAL)
            except OSError:  # no locks here
                break
        yield
    finally:
        with suppress(OSError):
            place.unlink()
        os.close(handle)


def _gib(size: float) -> str:
    return f"{size / GIB:.2f} GiB" if size >= GIB / 100 else f"{size / 2**20:.1f} MiB"
