"""Listing of images in one folder per class, on disk or in a .zip. Imports nothing slow, as the config calls it.

    root/train/<class>/*.png     required
    root/valid/<class>/*.png     optional: without it, validation images are split off train
    root/test/<class>/*.png      optional

The root may be a .zip that holds these folders, also below one top folder.
"""

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from process.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # as torchvision's
LAYOUT = "set data.root to a folder or .zip with train/<class>/<image>, and optionally valid/ and test/ likewise"


def count_classes(root: str) -> int:
    """Return the number of classes in train/."""
    return len(list_images(root, "train"))


def list_images(root: str, part: str) -> dict[str, list[str]]:
    """Return the sorted names, relative to the root, of the images of each class in train/, valid/ or test/.

    {} if valid/ or test/ is absent. Hidden files and files of other types are left out. Raises UserError if the root
    or train/ is missing, for a class without images and for a class that train/ does not have.
    """
    path = Path(root).absolute()
    if not path.exists():
        raise UserError(f"{path}: no such folder or .zip: {LAYOUT}")
    classes = _classes(path, part)
    if part == "train" and not classes:
        raise UserError(f"{path}: no classes in train/: {LAYOUT}")
    if part != "train" and classes and (unknown := sorted(classes.keys() - _classes(path, "train").keys())):
        raise UserError(f"{path}: class {unknown[0]!r} is in {part}/ but not in train/: rename, add or remove it")
    if empty := [name for name, images in classes.items() if not images]:
        raise UserError(f"{path}: {part}/{empty[0]} holds no image ({' '.join(EXTENSIONS)}): add some or remove it")
    return classes


def _classes(path: Path, part: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, top in _below_top(path) if path.is_file() else ((n, 0) for n in names_in_folder(path, part)):
        parts = PurePosixPath(name).parts[top:]  # train, class, ..., file; or train, class for a folder
        is_folder = name.endswith("/")
        if parts[:1] != (part,) or len(parts) < 3 - is_folder or is_hidden(parts):
            continue
        images = found.setdefault(parts[1], [])
        if name.lower().endswith(EXTENSIONS):
            images.append(name)
    return {name: sorted(found[name]) for name in sorted(found)}


def names_in_folder(root: Path, part: str = ".", on_closed: Callable[[OSError], None] | None = None) -> list[str]:
    """Return the names of all files and folders below a part of the root, relative to it; those of folders end in /.

    Links are followed, except to a folder that contains them. `on_closed` is called with the error of each folder that
    may not be opened. Without `on_closed`, such a folder raises UserError, so that no image is left out silently.
    """
    names = []
    for folder, folders, files in os.walk(root / part, onerror=on_closed or _refuse, followlinks=True):
        below = Path(folder).relative_to(root).as_posix()
        folders[:] = [name for name in folders if not name.startswith(".") and not _leads_back(Path(folder, name))]
        names += [f"{below}/{name}/" for name in folders]
        names += [f"{below}/{name}" for name in files]
    return names


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):  # valid/ and test/ need not be there
        raise UserError(f"{error.filename}: {error.strerror}: make it readable, or move it elsewhere") from error


def _leads_back(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def names_in_zip(path: Path, remedy: str) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a readable .zip ({error}): {remedy}") from error


def is_hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") for part in parts)


def _below_top(path: Path) -> list[tuple[str, int]]:
    """Return the names in a .zip, each with the number of folders above train/: 0 or 1."""
    names = names_in_zip(path, LAYOUT)
    at_top = any(name.startswith("train/") for name in names)
    return [(name, 0 if at_top else 1) for name in names]
