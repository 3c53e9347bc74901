"""The copy of this repository for a new project: renamed, without runs, caches, measured results and citation."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

from process.errors import UserError
from scaffold.project_name import ProjectName, renamer

RESULTS = re.compile(r"^<!-- results -->\n.*?^<!-- /results -->\n+", re.M | re.S)  # a section of a page
PICTURE = re.compile(r"^!\[[^\n]*\]\((?!https?:)[^)\n]*\)\n+", re.M)  # a picture on a page shows results
MEASURED = re.compile(r"^#.*±.*\n", re.M)  # a line in the head of a recipe
PICTURES = (".png", ".jpg", ".gif", ".svg")
LEFT_OUT = (Path("docs", "results.md"), Path("CITATION.cff"))  # the results and the authors are this project's


def write_copy(repository: Path, name: ProjectName, folder: Path) -> int:
    """Write the copy and return its number of files.

    Raises a UserError, before anything is written, for a name that the code already contains.
    """
    files = list(_files(repository))
    texts = {path: text for path in files if (text := _text(repository / path)) is not None}
    cleaned = {path: _clean(path, text) for path, text in texts.items()}
    for path in files:
        if name.is_example or path.name == "LICENSE":
            continue
        if found := name.pattern().search(f"{path}\n{cleaned.get(path, '')}"):
            raise UserError(
                f"{found[0]} is already a word of this repository ({path}), so that the copy could not be renamed: "
                f"choose another, such as {name.snake}_project"
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
    return len(files)


def _files(repository: Path) -> Iterator[Path]:
    """Yield the relative paths that .gitignore does not name. Git is not asked: a download has no git history."""
    file = repository / ".gitignore"
    ignored = GitIgnoreSpec.from_lines(file.read_text(encoding="utf-8").splitlines() if file.is_file() else [])
    folders = [repository]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            relative = path.relative_to(repository)
            if path.name == ".git" or ignored.match_file(f"{relative}/" if path.is_dir() else relative):
                continue
            if path.is_dir() and not path.is_symlink():
                if not (path / "pyvenv.cfg").exists() and not (path / ".git").exists():  # an environment, a repository
                    folders.append(path)
            elif (path.is_file() or (path.is_symlink() and path.exists())) and not _is_left_out(relative):
                yield relative


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
    if path.parts[:2] == ("config", "experiment"):
        return MEASURED.sub("", text)
    return text
