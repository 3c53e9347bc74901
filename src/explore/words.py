"""Text that people chose (comments, classes, paths), as it was typed, in one line of the Markdown of Streamlit."""

import re

from process.text import one_line

LONGEST = 100  # characters of a word, whatever run.json holds in its place

JOINER = "\u2060"  # shows nothing
# what Streamlit makes links, icons and signs of even where its characters are escaped
REWRITTEN = re.compile(
    r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)|(?<=:)(?=material/|streamlit:)|(?<=\s[<>~-])(?=[>=-]\s)", re.IGNORECASE
)


def as_typed(text: str, most: int = 1000) -> str:
    """Return Markdown that shows text of people (a comment, a class, a path) unchanged, in one line.

    Args:
        most: the number of characters that are shown.
    """
    text = REWRITTEN.sub(JOINER, f" {one_line(text, most)} ").strip()
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def code(text: str) -> str:
    """Return Markdown that shows the text, in one line, as code that may be copied."""
    text = one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"
