"""The site builds from README.md and docs/ without a warning, and needs nothing from other hosts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from runs import REPOSITORY

pytestmark = [pytest.mark.processes, pytest.mark.long]


def build(repository: Path, site: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    variables = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=repository, env=variables, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(REPOSITORY, folder)
    assert done.returncode == 0, done.stderr
    return folder


def attributes(page: Path) -> list[tuple[str, str]]:
    """Return the tag and the target of each link, picture, script and style of a page."""
    return re.findall(r'<(a|img|script|link)\b[^>]*?\b(?:href|src)="?([^"\s>]+)', page.read_text(encoding="utf-8"))


def test_every_page_is_there(site):
    pages = {f"{path.stem}.html" for path in (REPOSITORY / "docs").glob("*.md")}
    pages |= {"index.html", "contributing.html", "security.html", "changelog.html"}
    assert {path.name for path in site.glob("*.html")} == pages | {"404.html"}
    assert "make train" in (site / "index.html").read_text(encoding="utf-8")


def test_links_and_pictures_lead_to_files(site):
    seen = set()
    for page in site.glob("*.html"):
        for tag, target in attributes(page):
            address = urlparse(target)
            if address.scheme or address.netloc or page.name == "404.html":  # which has absolute addresses
                continue
            assert not address.path or (page.parent / unquote(address.path)).exists(), f"{page.name}: {target}"
            seen.add((tag, Path(address.path).name))
    pictures = {("img", path.name) for path in (REPOSITORY / "docs").glob("*.png")}  # a new project has none
    assert {("a", "networks.html"), *pictures} <= seen


def test_no_script_style_font_or_picture_comes_from_another_host(site):
    for page in site.glob("*.html"):
        for tag, target in attributes(page):
            assert tag == "a" or not urlparse(target).netloc, f"{page.name}: {target}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(REPOSITORY / "docs", copy / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (REPOSITORY / "mkdocs.yml", *REPOSITORY.glob("*.md"), *REPOSITORY.glob("CITATION.cff")):
        shutil.copy(path, copy)
    readme = copy / "README.md"
    text = readme.read_text(encoding="utf-8")
    for wrong, named in (("(docs/date.md)", "'date.md'"), ("(docs/data.md#photos)", "'data.md#photos'")):
        readme.write_text(text.replace("(docs/data.md)", wrong), encoding="utf-8")
        done = build(copy, tmp_path / "site")
        assert done.returncode != 0
        assert done.stderr.count("WARNING") == 1
        assert named in done.stderr
