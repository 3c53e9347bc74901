"""A path that somebody typed, as the value of a setting."""

from contextlib import suppress
from pathlib import Path

from run.errors import UserError


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
