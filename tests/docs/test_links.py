"""Links within the repository have a target, and the files that the pages name exist."""

import re
from pathlib import Path

import pytest
from headings import anchors
from runs import REPOSITORY

PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").glob("*.md"))]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(page: Path) -> str:
    """Return the page without code, in which brackets are not links."""
    return re.sub(
        r"^```.*?^```|^    .*$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):  # another site's
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.is_relative_to(REPOSITORY), f"{target}: outside of the repository"
        assert file.exists(), f"{target}: no such file"
        if anchor:
            known = anchors(file.read_text(encoding="utf-8"))
            assert anchor in known, f"{target}: {file.name} has the headings {', '.join(known)}"


@pages
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = set(
        re.findall(r"(?<![\w./$-])(?:src|docker|docs|config|tests|hydra)/[\w./-]*\.(?:py|sh|md|yaml|png)\b", text)
    )
    examples = set(re.findall(r"^`([\w./]+)`:\n\n```", text, re.MULTILINE))  # the reader writes these files
    missing = {name for name in names - examples if "/mine." not in name and not (REPOSITORY / name).exists()}
    assert not missing
