"""The difference between a page and its translation in code, tables, numbers, pictures and links, block by block."""

import calendar
import posixpath
import re
from collections import Counter
from itertools import zip_longest
from typing import NamedTuple

from headings import anchors

ENGLISH, JAPANESE = "README.md", "docs/README.ja.md"
WORDS = ["three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
NUMERALS = {word: str(3 + i) for i, word in enumerate(WORDS)}
MONTHS = {f"{month} ": f"{i} " for i, month in enumerate(calendar.month_name) if month}
FREE = {"0", "1", "2"}  # English may say them with `no`, `a`, `once`, `both`


class Block(NamedTuple):
    """A part of a page between two empty lines."""

    place: str
    kind: str
    facts: dict[str, Counter[str] | list[str]]


def kind(block: str) -> str:
    if heading := re.match("#+ ", block):
        return f"heading of level {len(heading[0]) - 1}"
    if block.startswith("<!--"):  # a mark, such as the one around results
        return block
    starts = {"    ": "code", "|": "table", "- ": "list", "![": "picture"}
    return next((name for start, name in starts.items() if block.startswith(start)), "text")


def command(line: str) -> str:
    """Return the line without its comment or description; an empty string if it only continues a description."""
    return "" if line.startswith(" " * 24) else re.split(r"\s{2,}|\s#\s", line.strip())[0]


def link(target: str, page: str, text: str) -> str:
    """Return the target as seen from the root of the repository; for an anchor within the page, its number."""
    if target.startswith("#"):
        known = anchors(text)
        return f"heading {known.index(target[1:])}" if target[1:] in known else target
    return target if ":" in target else posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def facts(block: str, page: str, text: str) -> dict[str, Counter[str] | list[str]]:
    lines, found = block.splitlines(), {}
    if kind(block) == "code":
        found["commands"] = [command(line) for line in lines if command(line)]
        block = "\n".join(line.replace(command(line), "", 1) for line in lines)
    else:
        found["code"] = Counter(re.findall(r"`([^`]+)`", block))
        block = re.sub(r"`[^`]+`", "", block)
        found["links"] = Counter(link(target, page, text) for target in re.findall(r"\]\(([^)]+)\)", block))
        block = re.sub(r"\]\([^)]+\)", "", block)
        found["cells or items"] = [str(line.count("|")) for line in lines if line.startswith(("|", "- "))]
        found["emphasis"] = [str(len(re.findall(r"\*\*", block)))]
    block = re.sub(r"\b[A-Z][a-z]+ (?=\d{4})", lambda month: MONTHS.get(month[0], month[0]), block)
    block = re.sub(r"\b[A-Za-z]+\b", lambda word: NUMERALS.get(word[0].lower(), word[0]), block)
    found["numbers"] = Counter(re.findall(r"(?<![A-Za-z\d.,])\d+(?:[.,]\d+)*", block))
    return found


def blocks(page: str, text: str) -> list[Block]:
    """Return all blocks but the link to the other page."""
    own, section = [], "the beginning"
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if re.search(r"\]\((docs/README\.ja|\.\./README)\.md\)", block):
            continue
        section = block.lstrip("# ") if block.startswith("#") else section
        own.append(Block(f"{page}, {section}: {block.strip()[:50]!r}", kind(block), facts(block, page, text)))
    return own


def difference(english: str, japanese: str) -> str | None:
    """Return the first difference in words, or None."""
    for ours, theirs in zip_longest(blocks(ENGLISH, english), blocks(JAPANESE, japanese)):
        if ours is None or theirs is None:
            return f"{(ours or theirs).place} has no counterpart"
        where = f"{ours.place} and {theirs.place}"
        if ours.kind != theirs.kind:
            return f"{where}: a {ours.kind}, and a {theirs.kind}"
        for name, value in ours.facts.items():
            other = theirs.facts[name]
            if isinstance(value, list) or isinstance(other, list):
                if pairs := [pair for pair in zip_longest(value, other) if pair[0] != pair[1]]:
                    return f"{where}: {name} {' and '.join(map(repr, pairs[0]))}"
                continue
            here, there = value - other, other - value
            if name == "numbers":
                here = Counter({number: n for number, n in here.items() if number not in FREE or not other[number]})
                there = Counter({number: n for number, n in there.items() if number not in FREE})
            if here or there:
                return f"{where}: {name} {[*here]} in the first alone, {[*there]} in the second alone"
    return None
