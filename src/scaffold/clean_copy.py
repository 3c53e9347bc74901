"""The copy of this repository for a new project: renamed, without runs, caches, measured results and citation."""

import re
import shutil
from pathlib import Path

from process.errors import UserError
from process.source_files import SourceFiles
from process.text import printable
from scaffold.project_name import ProjectName, renamer

RESULTS = re.compile(r"^<!-- results -->\n.*?^<!-- /results -->\n+", re.M | re.S)  # a section of a page
PAGES = re.compile(r"^ *# results\n.*?^ *# /results\n", re.M | re.S)  # pages of results in the navigation of the site
PICTURE = re.compile(r"^!\[[^\n]*\]\((?!https?:)[^)\n]*\)\n+", re.M)  # a picture on a page shows results
MEASURED = re.compile(r"^#.*±.*\n", re.M)  # a line in the head of a recipe
PICTURES = (".png", ".jpg", ".gif", ".svg")
LEFT_OUT = (Path("docs", "results.md"), Path("docs", "accuracies.md"), Path("CITATION.cff"))  # this project's own


def write_copy(repository: Path, name: ProjectName, folder: Path) -> SourceFiles:
    """Write the copy and return the files that it was made from, with what is left out of it.

    Raises a UserError, before anything is written, for a name that the code already contains.
    """
    # git is not asked: a download has no git history
    found = SourceFiles(repository, keeps_links=True)
    files = found.files = [path for path in found.files if not _is_left_out(path)]
    texts = {path: text for path in files if (text := _text(repository / path)) is not None}
    cleaned = {path: _clean(path, text) for path, text in texts.items()}
    for path in files:
        if name.is_example or path.name == "LICENSE":
            continue
        if word := name.pattern().search(f"{printable(path)}\n{cleaned.get(path, '')}"):
            raise UserError(
                f"{word[0]} is already a word of this repository ({printable(path)}), so that the copy could not be "
                f"renamed: choose another, such as {name.snake}_project"
            )
    rename = renamer(ProjectName.of(repository), name)
    for path in files:
        old, new = repository / path, folder / rename(str(path))
        new.parent.mkdir(parents=True, exist_ok=True)
        if (text := cleaned.get(path)) is not None:
            new.write_text(text if path.name == "LICENSE" else rename(text), "utf-8", newline="")
            shutil.copymode(old, new)
        else:
            shutil.copy(old, new, follow_symlinks=False)
    return found


def _is_left_out(path: Path) -> bool:
    return path in LEFT_OUT or (path.parts[0] == "docs" and path.suffix in PICTURES)


def _text(path: Path) -> str | None:
    """Return the text of the file, None for a link or a file that is not text."""
    if path.is_symlink():
        return None
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        return None


def _clean(path: Path, text: str) -> str:
    """Return the text without results."""
    if path.name == "CHANGELOG.md":
        head, mark, _ = text.partition("## Unreleased\n")
        return head + mark
    if path.suffix == ".md":
        return PICTURE.sub("", RESULTS.sub("", text))
    if path.name == "mkdocs.yml":
        return PAGES.sub("", text)
    if path.parts[:2] == ("config", "experiment"):
        return MEASURED.sub("", text)
    return text
