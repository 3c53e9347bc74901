"""Headings of a Markdown page and the anchors that GitHub gives them."""

import re
from collections import Counter


def headings(text: str) -> list[tuple[int, str]]:
    """Return (level, title) of each heading in order, without the lines of code blocks."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [(len(marks), title) for marks, title in re.findall(r"^(#{1,6}) +(.+?) *$", prose, re.MULTILINE)]


def anchors(text: str) -> list[str]:
    """Return the anchor of each heading: lower case, hyphens, no other sign; a repeated name ends in -1."""
    seen: Counter[str] = Counter()
    names = []
    for _, title in headings(text):
        name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        names.append(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names
