"""Images whose patches become bags: their names, and their labels and parts where the folder states them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datamodule import class_folders, files, image_table, unlabelled_large_images
from datamodule.bag_table import Row
from process.errors import UserError
from process.files import path_from_setting
from process.text import printable

KINDS = "give an image, a folder, a .zip of images, or a pattern such as 'photos/**/*.png'"


@dataclass(frozen=True)
class ImageList:
    """Images below a root, a folder or a .zip, sorted as they were found.

    Args:
        names: relative to the root.
        bags: their names without the ending, or with it where two differ in it alone.
        rows: label, part, group and fold of each, by the name of the bag; None if the folder does not state them.
        others: messages about what was left out.
        large: whether they are read patch by patch, as data=large_images reads them.
    """

    root: Path
    names: list[str]
    bags: list[str]
    rows: list[Row] | None
    others: list[str]
    large: bool

    def path(self, number: int) -> Path:
        return self.root / self.names[number]

    def changed_at(self, number: int) -> float:
        """Return the time of the last change of an image, of its .zip if it is in one; 0 if that is unknown."""
        path = self.root if self.root.is_file() else self.path(number)
        return path.stat().st_mtime if path.exists() else 0.0


def find_images(pattern: str, large: bool | None) -> ImageList:
    """Return the images that a pattern names, see ImageList. Raises UserError if there are none.

    A folder with train/<class>/, as data=image_folder reads it, or with the table of data=large_images, states labels
    and parts; one whose images all lie in folders, of which there are several, states labels.

    Args:
        large: whether they are read patch by patch; None: if all have endings of such images, see image_table.
    """
    path = path_from_setting("input", pattern, KINDS)
    if large is None:
        large = not _has_other_images(path)
    return _find_large(path, pattern) if large else _find_decoded(path, pattern)


def _has_other_images(path: Path) -> bool:
    """Return whether there is an image that is not read patch by patch; also for a pattern and a .zip."""
    if path.is_dir():
        names = class_folders.names_in_folder(path, on_closed=lambda error: None)
        shown = [name for name in names if not class_folders.is_hidden(PurePosixPath(name).parts)]
        others = any(class_folders.is_image(name) and not _is_large(name) for name in shown)
        return others or not any(_is_large(name.rstrip("/")) for name in shown)
    return not _is_large(str(path))


def _is_large(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in image_table.ENDINGS


def _find_large(path: Path, pattern: str) -> ImageList:
    stated = path.is_dir() and (
        any((path / name).is_file() for name in image_table.NAMES) or "train" in class_folders.folders_in(path)
    )
    if stated:
        table = image_table.ImageTable(str(path))
        names = [found.relative_to(table.root).as_posix() for found in table.paths]
        bags = [_without_ending(row.item) if _is_large(row.item) else row.item for row in table.rows]
        bags = _distinct(bags, [row.item for row in table.rows])
        rows = [Row(bag, row.label, row.part, row.group, row.fold) for bag, row in zip(bags, table.rows, strict=True)]
        return ImageList(table.root, names, bags, rows, [], large=True)
    paths = unlabelled_large_images.find(pattern)
    root = path.parent if path in paths else path if path.is_dir() else _common(paths)
    return _listed(root, [found.relative_to(root).as_posix() for found in paths], [], large=True)


def _find_decoded(path: Path, pattern: str) -> ImageList:
    others: list[str] = []
    if path.is_dir() and "train" in class_folders.folders_in(path):
        root, names, rows = path.absolute(), list[str](), list[Row]()
        for part in ("train", "valid", "test"):
            for label, found in class_folders.list_images(str(root), part, others.append).items():
                names += found
                rows += [Row(name, label, part, None, None) for name in found]
        bags = _distinct([_without_ending(name) for name in names], names)
        rows = [Row(bag, row.label, row.part, None, None) for bag, row in zip(bags, rows, strict=True)]
        return ImageList(root, names, bags, rows, others, large=False)
    closed: list[OSError] = []
    root, names, left_out = files.find(pattern, closed.append)
    others += [f"{printable(error.filename)}: {error.strerror}: its images are left out" for error in closed]
    if not names:
        why = others[0] if others else f"no image there ({class_folders.left_out(left_out) or 'no files'})"
        raise UserError(f"input={pattern}: {why}: {KINDS}")
    if left_out:
        others.append(printable(class_folders.left_out(left_out)))
    names = [name.removeprefix("./") for name in names]
    if not (path.is_dir() or path.is_file()):
        paths = [root / name for name in names]
        root = _common(paths)
        names = [found.relative_to(root).as_posix() for found in paths]
    return _listed(root.absolute(), names, others, large=False)


def _listed(root: Path, names: list[str], others: list[str], large: bool) -> ImageList:
    """Return the images of a folder that states no parts: labels are the names of the folders in it, if several."""
    bags = _distinct([_without_ending(name) for name in names], names)
    labels = [name.partition("/")[0] if "/" in name else "" for name in names]
    rows = None
    if all(labels) and len(set(labels)) > 1:
        rows = [Row(bag, label, "", None, None) for bag, label in zip(bags, labels, strict=True)]
    return ImageList(root, names, bags, rows, others, large)


def _common(paths: Sequence[Path]) -> Path:
    """Return the deepest folder that contains all files."""
    folder = paths[0].parent
    while not all(path.is_relative_to(folder) for path in paths):
        folder = folder.parent
    return folder


def _without_ending(name: str) -> str:
    return name[: len(name) - len(PurePosixPath(name).suffix)]


def _distinct(bags: list[str], names: list[str]) -> list[str]:
    """Return the names of bags, and the whole name of a file where several would have the same."""
    counts: dict[str, int] = {}
    for bag in bags:
        counts[bag] = counts.get(bag, 0) + 1
    return [bag if counts[bag] == 1 else name for bag, name in zip(bags, names, strict=True)]
