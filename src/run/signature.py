"""The signature of a run folder or a sweep: whether this user's account has written what is read again of it.

A key that stays in the user's home signs the config and the code in a folder when they are written. A folder from
somebody else has no signature that fits, nor has one that was edited afterwards.
"""

import hashlib
import hmac
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from process.errors import UserError
from process.files import replacing

NAME = ".signature"
CONFIG = ("config.yaml", ".hydra/config.yaml", ".hydra/overrides.yaml")
KEY_BYTES = 32
UNREADABLE = (OSError, ValueError, LookupError, TypeError, RecursionError)  # what a damaged folder raises
LARGEST = 64 * 2**20  # bytes of code and config: a folder with more is not read through


def sign(folder: Path) -> None:
    """Sign config and code in the folder. Without a key, which a home that cannot be written has not, sign nothing."""
    key = _read_key() or _make_key()
    if key is not None:
        with suppress(*UNREADABLE, UserError), replacing(folder / NAME) as file:
            json.dump(_signatures(key, folder), file)


def sign_config(folder: Path) -> None:
    """Sign a config that this process has written anew, where the code in the folder is signed already."""
    with suppress(*UNREADABLE):
        signed, key = _read(folder), _read_key()
        if key is not None and signed and _equal(signed.get("source"), _code(key, folder)):
            sign(folder)


def is_own(folder: Path) -> bool:
    """Return whether this account has signed the config and the code in the folder, and they are unchanged."""
    try:
        signed, key = _read(folder), _read_key()
        if key is None or not signed:
            return False
        found = _signatures(key, folder)
    except UNREADABLE:
        return False
    return all(_equal(signed.get(name), value) for name, value in found.items())


def remove_compiled(folder: Path) -> None:
    """Remove the compiled files beside the code in the folder, which are not signed and which Python would prefer.

    Raises a UserError where one stays: in a folder that is read-only, for example.
    """
    for path in (folder / "source").rglob("__pycache__"):
        with suppress(OSError):
            path.unlink() if path.is_symlink() else shutil.rmtree(path)
        if os.path.lexists(path):
            raise UserError(f"{path} is not signed, and cannot be removed: make it writable, or copy the folder")


def key_file() -> Path:
    """Return the path of the key, below $XDG_STATE_HOME or ~/.local/state; in the container, that of the host.

    Raises an OSError if there is no home.
    """
    if folder := os.environ.get("PATCH_SETS_STATE"):  # where docker/run.sh mounts it
        return Path(folder, "key")
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # also where it is not set
        try:
            state = Path.home() / ".local" / "state"
        except RuntimeError as error:
            raise OSError(str(error)) from error
    return state / "patch_sets" / "key"


def _read_key() -> bytes | None:
    try:
        key = key_file().read_bytes()
    except OSError:
        return None
    return key if len(key) == KEY_BYTES else None


def _make_key() -> bytes | None:
    """Write a new key, unless another process is first, and return the key that is there then."""
    try:
        path = key_file()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)  # readable by its owner alone
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(name, path)  # atomic, and only the first process succeeds
        finally:
            Path(name).unlink()
    except OSError:
        return None
    return _read_key()


def _read(folder: Path) -> dict[str, str]:
    """Return the signatures in the folder; a ValueError if they are damaged."""
    signed = json.loads(_content(folder / NAME))
    return signed if isinstance(signed, dict) else {}


def _equal(signed: object, computed: str) -> bool:
    return isinstance(signed, str) and hmac.compare_digest(signed.encode(), computed.encode())


def _signatures(key: bytes, folder: Path) -> dict[str, str]:
    files = [(name, _content(folder / name)) for name in CONFIG if (folder / name).exists()]
    if (folder / "sweep.json").exists():  # `resumed` in it grows
        arguments = json.loads(_content(folder / "sweep.json"))["arguments"]
        files.append(("sweep.json", json.dumps(arguments).encode()))
    return {"config": _sign(key, "config", files), "source": _code(key, folder)}


def _code(key: bytes, folder: Path) -> str:
    """Return the signature of source/, without the compiled files that Python adds."""
    root, paths = folder / "source", []
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != "__pycache__"]
        if any(Path(parent, name).is_symlink() for name in folders):
            raise ValueError("a link to a folder: its content is elsewhere")
        paths += [Path(parent, name) for name in names]
    if sum(path.lstat().st_size for path in paths) > LARGEST:
        raise ValueError("too large to be code")
    files = ((str(path.relative_to(root)), _content(path)) for path in sorted(paths))
    return _sign(key, "source", files)


def _sign(key: bytes, part: str, files: Iterable[tuple[str, bytes]]) -> str:
    signature = hmac.new(key, part.encode(), hashlib.sha256)
    for name, content in files:
        signature.update(f"\0{len(name.encode())} {len(content)} ".encode())
        signature.update(name.encode() + content)
    return signature.hexdigest()


def _content(path: Path) -> bytes:
    """Return the content of a regular file; a ValueError for anything else, such as a pipe, which never ends."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
        raise ValueError(f"{path} is no file of code or settings")
    return path.read_bytes()
