"""Docstrings have a subject or a verb: none begins like the rest of a sentence."""

import ast
import re
from pathlib import Path

import pytest
from runs import REPOSITORY

FRAGMENT = re.compile(r"\s*(What|Of|Whether|How|Where|Those|That)\b")


def docstrings(path: Path) -> list[tuple[int, str]]:
    """Return the line and text of each docstring in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                found.append((node.body[0].lineno, text))
    return found


@pytest.mark.parametrize("folder", ["src", "tests", "docs"])
def test_no_docstring_begins_as_a_fragment(folder):
    """Begin a function with an imperative, a class with a noun phrase, a module with either."""
    fragments = [
        f"{path.relative_to(REPOSITORY)}:{line}: {text.splitlines()[0]}"
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        for line, text in docstrings(path)
        if FRAGMENT.match(text)
    ]
    assert not fragments, "\n".join(fragments)
