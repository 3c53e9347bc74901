"""The name of a run folder, and its making: two starts in one second never share a folder."""

import re
from datetime import datetime
from itertools import count
from pathlib import Path

from process.errors import UserError
from process.ranks import agree_on


def make_run_folder(kind: str, experiment_name: str, comment: str | None) -> str:
    """Make `<kind>/<experiment_name>/<YYYY-MM-DD>/<HH-MM-SS>[_comment][_1, _2 ...]` and return its path.

    Of several ranks that were started together, rank 0 makes it.
    """
    return agree_on("folder", lambda: _make(kind, experiment_name, comment))


def _make(kind: str, experiment_name: str, comment: str | None) -> str:
    now = datetime.now()
    name = now.strftime("%H-%M-%S") + (f"_{slug(comment)}" if comment else "")
    parent = Path(kind, slug(experiment_name), now.strftime("%Y-%m-%d"))
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for suffix in count():
            folder = parent / (f"{name}_{suffix}" if suffix else name)
            try:
                folder.mkdir()  # exclusive: of two processes only one succeeds
            except FileExistsError:
                continue
            return str(folder)
    except OSError as error:
        raise UserError(
            f"cannot make a run folder in {parent.absolute()}: {error.strerror}; make it writable or cd elsewhere"
        ) from error
    raise AssertionError("count() never ends")


def slug(text: str) -> str:
    """Letters and digits of any language stay, whatever else becomes `-`: `lr 0.1, 日本` -> `lr-0.1-日本`."""
    return re.sub(r"[^\w.=+-]+", "-", str(text)).strip("-.")[:60] or "-"
