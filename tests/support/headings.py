"""Headings of a Markdown page, and the anchors that GitHub gives them."""

import re
from collections import Counter


def headings(text: str) -> list[tuple[int, str]]:
    """(level, title) in order; what looks like one in a code block is none."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [(len(marks), title) for marks, title in re.findall(r"^(#{1,6}) +(.+?) *$", prose, re.MULTILINE)]


def anchors(text: str) -> list[str]:
    """One for each heading: lower case, words joined by hyphens, no other sign; the second of a name ends in -1."""
    seen: Counter[str] = Counter()
    names = []
    for _, title in headings(text):
        name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        names.append(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names
