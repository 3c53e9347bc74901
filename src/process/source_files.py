"""The files of a source tree that a copy holds: without secrets, what git ignores, and what cannot be copied.

Run folders, sweeps and new projects copy the tree by this one rule; what it leaves out is reported.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from process.text import printable

if TYPE_CHECKING:  # --help and TAB need no patterns
    from pathspec import GitIgnoreSpec

LARGEST = 100 * 2**20  # bytes: GitHub takes no larger file; a checkpoint or a data set belongs elsewhere
SHOWN = 5  # names in a line
QUIET = ("__pycache__", "*.pyc", "*.egg-info", ".git", ".DS_Store", ".*_cache", ".ipynb_checkpoints")
SECRET_NAMES = (
    *(".env*", "*.env", ".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".my.cnf", ".htpasswd", ".git-credentials"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.p8", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.crt", "*.cer", "*.der"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "kubeconfig*", "*.kubeconfig", "credentials", "credentials.*"),
    *("*[-_]credentials.*", "client_secret*", "service[-_]account*", "secret.*", "secrets.*", "*.token", "kaggle.json"),
    *(".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker"),
)
# a module is judged by its content alone: network/key.py, process/secrets.py
NO_SECRETS = (".env.default", "*.py", "*.md")
PRIVATE_KEY = re.compile(rb'(^[^\S\n]*|"private_key":\s*")-----BEGIN [A-Z0-9 ]*PRIVATE KEY', re.M)
HEAD = 4096  # bytes of a file in which a private key begins
MAY_BE_SECRET, IGNORED, NOTHING = "may hold a secret", "git ignores it", "a link to nothing"
CIRCLE, SPECIAL, LARGE = "a link that leads in circles", "no regular file", "more than 100 MiB"
ENVIRONMENT, REPOSITORY = "a Python environment", "another repository"


@dataclass
class SourceFiles:
    """The files below some parts of a repository that a copy holds, and what is left out, with the reason.

    Args:
        root: the repository.
        parts: the files and folders in it that are copied; paths are relative to `root`.
        silent: patterns of further names that are left out without a word.
        keeps_links: links are copied as links, and nested repositories are left out; else links are followed.
        avoid: a folder that is not copied into itself: the one that the copy is written to.
    """

    root: Path
    parts: tuple[str, ...] = ("",)
    silent: tuple[str, ...] = ()
    keeps_links: bool = False
    avoid: Path | None = None
    files: list[Path] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ignored = {self.root: _patterns(self.root / ".git" / "info" / "exclude", self.root / ".gitignore")}
        within = [self.root.resolve(), *([self.avoid.resolve()] if self.avoid else [])]  # real paths of its folders
        waiting = [(self.root / part, within) for part in self.parts if os.path.lexists(self.root / part)]
        while waiting:
            path, within = waiting.pop()
            if reason := self._why_not(path, within):
                self.left_out[path.relative_to(self.root)] = reason
            elif not path.is_dir() or (self.keeps_links and path.is_symlink()):
                self.files.append(path.relative_to(self.root))
            else:
                self.ignored.setdefault(path, _patterns(path / ".gitignore"))
                waiting += [(path / name, [*within, path.resolve()]) for name in self._names(path)]
        self.files.sort()

    def _names(self, folder: Path) -> list[str]:
        """Return the names in a folder without those that are left out without a word."""
        quiet = (*QUIET, *self.silent)
        names = [entry.name for entry in folder.iterdir()]
        return [name for name in names if is_secret(name) or not any(fnmatch(name, each) for each in quiet)]

    def _why_not(self, path: Path, within: list[Path]) -> str | None:
        """Return why the path is left out, or None. `within` are the real paths of the folders that led here."""
        try:
            mode, size = path.stat().st_mode, path.stat().st_size
            is_folder, is_link = stat.S_ISDIR(mode), path.is_symlink()
            if path != self.root and (is_secret(path.name) or (is_link and is_secret(path.resolve().name))):
                return MAY_BE_SECRET
            if path != self.root and self._is_ignored(path, is_folder and not is_link):
                return IGNORED
            if is_link and self.keeps_links:
                return None
            if is_folder:
                return self._why_not_folder(path, within)
            if not stat.S_ISREG(mode):
                return SPECIAL
            if size > LARGEST:
                return LARGE
            with path.open("rb") as file:
                return MAY_BE_SECRET if PRIVATE_KEY.search(file.read(HEAD)) else None
        except FileNotFoundError:
            return NOTHING
        except OSError as error:
            return CIRCLE if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"

    def _why_not_folder(self, path: Path, within: list[Path]) -> str | None:
        if path.is_symlink() and any(folder.is_relative_to(path.resolve()) for folder in within):
            return CIRCLE
        names = {entry.name for entry in path.iterdir()}
        if path != self.root and "pyvenv.cfg" in names:
            return ENVIRONMENT
        return REPOSITORY if path != self.root and self.keeps_links and ".git" in names else None

    def _is_ignored(self, path: Path, is_folder: bool) -> bool:
        """Return whether the nearest .gitignore that says something about the path ignores it."""
        for folder in path.parents:
            if (patterns := self.ignored.get(folder)) is not None:
                relative = f"{path.relative_to(folder)}/" if is_folder else str(path.relative_to(folder))
                if (said := patterns.check_file(relative).include) is not None:
                    return said
            if folder == self.root:
                break
        return False

    def describe(self) -> str:
        """Return a line that says what is left out; an empty one if nothing is."""
        names = [f"{printable(path)} ({reason})" for path, reason in sorted(self.left_out.items())]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return ", ".join(names[:SHOWN]) + more

    def lost_code(self) -> list[str]:
        """Return the ignored modules, YAML files and folders: what a run imports or composes may be among them."""
        return [
            printable(path)
            for path, reason in sorted(self.left_out.items())
            if reason == IGNORED and (path.suffix in (".py", ".yaml") or (self.root / path).is_dir())
        ]


def is_secret(name: str) -> bool:
    """Return whether a file or a folder of this name may hold passwords, keys or certificates."""
    name = name.lower()
    return any(fnmatch(name, each) for each in SECRET_NAMES) and not any(fnmatch(name, each) for each in NO_SECRETS)


def _patterns(*files: Path) -> "GitIgnoreSpec | None":
    """Return the patterns of these .gitignore files, None if there are none that can be read."""
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(lines) if (lines := [line for file in files for line in _lines(file)]) else None


def _lines(file: Path) -> Iterator[str]:
    try:
        if file.is_file():
            yield from file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
