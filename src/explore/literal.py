"""Text that people have typed, a comment, a class, a path, where Streamlit would read Markdown in it."""

import re


def literal(text: str) -> str:
    """As it is: no style, no formula, no picture."""
    return re.sub(r"([\\`*_~$:<\[])", r"\\\1", text)
