"""README.md is short, and shows the output of the first training as it is."""

import re

import pytest
from runs import REPOSITORY, record

TEXT = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_it_is_read_in_minutes():
    assert len(TEXT.splitlines()) <= 250


def words(line: str) -> list[str]:
    """Return the words of a line of output; a number, a time and the name of the run folder are `0`."""
    line = re.sub(r"\b\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d\b|(?<![=/])\b\d[\d,.:]*", "0", line)
    return re.sub("─+", "─", line).split()


@pytest.mark.long
def test_the_terminal_shows_what_the_first_minute_promises(train, capfd):
    start, end = "the terminal\nshows\n\n", "\n\nThe network classifies"
    shown = re.search(f"(?s)(?i:{start})(.*?){end}", TEXT)[1]
    expected = [line.strip() for line in shown.splitlines() if line.strip() != "..."]
    metrics = record(train("data=digits"))["metrics"]
    said = [words(line) for line in "".join(capfd.readouterr()).splitlines()]
    place = 0
    for line in expected:
        assert words(line) in said[place:], line
        place += said[place:].index(words(line))
    measured = re.findall(r"│ (test_accuracy\S*) +│ ([\d.]+) +│", shown)
    assert len(measured) == 5
    for name, value in measured:  # other processors round differently
        assert metrics[name] == pytest.approx(float(value), abs=0.05 if name.endswith("=1") else 0.02), name
