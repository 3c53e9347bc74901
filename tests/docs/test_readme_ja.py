"""Compares docs/README.ja.md with README.md, block by block: commands, code, tables, numbers, pictures and links.

The meaning of a sentence is not compared: a sentence without any of these may stand in one page alone.
"""

import pytest
from runs import REPOSITORY
from translation import ENGLISH, JAPANESE, difference

REMEDY = f"change {ENGLISH} and {JAPANESE} together"
# a small README
ABOUT = """# Patches

After three epochs ([below](#use)) `lr=0.1` reaches **0.98**, in 60 s.

![Error](docs/error.png)

## Use

    python train.py lr=0.1      # three epochs
        -m

| what | figure |
| --- | --- |
| `a` | 1 |
"""
SAME = """# Patches

English: [README.md](../README.md)

3 エポック後([後述](#使い方))、`lr=0.1` は 60 秒で **0.98** に達します。

![誤り率](error.png)

## 使い方

    python train.py lr=0.1      # 3 エポック
        -m

| 対象 | 値 |
| --- | --- |
| `a` | 1 |
"""


def test_a_translation_is_no_difference():
    assert difference(ABOUT, SAME) is None


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("lr=0.1  ", "lr=0.2  ", "commands"),
        ("        -m", "        -m lr=1,2", "commands"),
        ("# three epochs", "# four epochs", "numbers"),
        ("three epochs (", "four epochs (", "numbers"),
        ("60 s", "61 s", "numbers"),
        ("`lr=0.1` reaches", "`lr=0.2` reaches", "code"),
        ("**0.98**", "0.98", "emphasis"),
        ("error.png", "other.png", "links"),
        ("(#use)", "(#patches)", "links"),
        ("| `a` | 1 |", "| `a` | 1 |\n| b | 2 |", "cells or items"),
        ("\n## Use", "\nOne more paragraph.\n\n## Use", "a text, and a heading"),
        ("\n## Use", "\n### Use", "heading of level 3"),
        ("| `a` | 1 |\n", "| `a` | 1 |\n\n## More\n", "no counterpart"),
    ],
)
def test_an_edit_of_one_page_is_seen(before, after, told):
    assert before in ABOUT
    assert told in str(difference(ABOUT.replace(before, after, 1), SAME))


@pytest.fixture(scope="module")
def texts() -> tuple[str, str]:
    return (REPOSITORY / ENGLISH).read_text(encoding="utf-8"), (REPOSITORY / JAPANESE).read_text(encoding="utf-8")


def test_both_pages_say_the_same(texts):
    found = difference(*texts)
    assert found is None, f"{found}; {REMEDY}"


def test_each_page_leads_to_the_other(texts):
    assert f"]({JAPANESE})" in texts[0]
    assert "](../README.md)" in texts[1]
