"""Words that people chose (comments, classes, settings), in one short line, whatever run.json holds in their place."""

from typing import Any

from table.text import printable


def one_line(value: Any, most: int = 100) -> str:
    """Return the value as text of at most so many characters, without line breaks and control characters."""
    text = str(value)
    return " ".join(printable(text[:most] + ("…" if len(text) > most else "")).split())
