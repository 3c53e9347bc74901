"""Listing of images in one folder per class, on disk or in a .zip. Imports nothing slow, as the config calls it.

    root/train/<class>/*.png     required
    root/valid/<class>/*.png     optional, also as val/ or validation/; without it, images are split off train
    root/test/<class>/*.png      optional

The root may be a .zip that holds these folders, also below one top folder.
"""

import os
import re
import shlex
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

from process.errors import UserError

# endings by Pillow's name, in the order in which Pillow tries them; left out is what starts a program (EPS) or holds a
# file of any format (IPTC)
FORMATS = {
    "BMP": ".bmp",
    "DIB": ".dib",
    "GIF": ".gif",
    "JPEG": ".jfif .jpe .jpeg .jpg .mpo",  # MPO is opened as JPEG
    "PPM": ".pbm .pfm .pgm .pnm .ppm",
    "PNG": ".apng .png",
    "TIFF": ".tif .tiff",
    "WEBP": ".webp",
    "JPEG2000": ".j2c .j2k .jp2 .jpc .jpf .jpx",
    "AVIF": ".avif .avifs",
    "BLP": ".blp",
    "CUR": ".cur",
    "DCX": ".dcx",
    "DDS": ".dds",
    "FITS": ".fit .fits",
    "FLI": ".flc .fli",
    "FTEX": ".ftc .ftu",
    "GBR": ".gbr",
    "ICNS": ".icns",
    "ICO": ".ico",
    "MSP": ".msp",
    "PCD": ".pcd",
    "PCX": ".pcx",
    "PIXAR": ".pxr",
    "PSD": ".psd",
    "QOI": ".qoi",
    "SGI": ".bw .rgb .rgba .sgi",
    "SUN": ".ras",
    "TGA": ".icb .tga .vda .vst",
    "XBM": ".xbm",
    "XPM": ".xpm",
}
EXTENSIONS = frozenset(" ".join(FORMATS.values()).split())
LAYOUT = "set data.root to a folder or .zip with train/<class>/<image>, and optionally valid/ and test/ likewise"
PARTS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}  # by folder
COMPRESSIONS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard"}  # of a .zip, by their number
SHOWN = 8  # names in one message, at most


def count_classes(root: str) -> int:
    """Return the number of classes in train/."""
    return len(list_images(root, "train"))


def list_images(root: str, part: str, note: Callable[[str], None] = lambda line: None) -> dict[str, list[str]]:
    """Return the sorted names, relative to the root, of the images of each class in train/, valid/ or test/.

    {} if valid/ or test/ is absent. Hidden files are left out silently. `note` is called with a line about files that
    are left out by their place or ending, and, for train, about folders beside it that are not used. Raises UserError
    if the root or train/ is missing, for a folder that is almost train/, valid/ or test/, for a class without images
    and for a class that train/ does not have.
    """
    path = Path(root).absolute()
    if not path.exists():
        raise UserError(f"{path}: no such folder or .zip: {LAYOUT}")
    zipped = names_in_zip(path) if path.is_file() else None
    top, beside = ("", folders_in(path)) if zipped is None else _below_top(path, zipped)
    folders = part_folders(path, top, beside)
    if part == "train" and (unused := [f"{name}/" for name in beside if name not in folders.values()]):
        note(f"{path}: not used: {first_of(unused)} (only train/, valid/ and test/ are)")
    if part not in folders:
        return {}
    classes = _classes(path, top + folders[part], zipped, note)
    if part == "train" and not classes:
        raise UserError(f"{path}: no classes in train/: {LAYOUT}")
    if part != "train" and classes:
        trained = _classes(path, top + folders["train"], zipped, lambda line: None)
        if unknown := sorted(classes.keys() - trained.keys()):
            raise UserError(
                f"{path}: class {unknown[0]!r} is in {folders[part]}/ but not in train/: rename, add or remove it"
            )
    return classes


def part_folders(path: Path, top: str, beside: Sequence[str]) -> dict[str, str]:
    """Return the name of the folder of each part that is there. Raises UserError for two of a part, and for none."""
    folders: dict[str, str] = {}
    for name in beside:
        part = PARTS.get(name, "")
        if part in folders:
            raise UserError(f"{path}: {top}{folders[part]}/ and {top}{name}/ are both there: keep one of them")
        if part:
            folders[part] = name
    for name in beside:
        right = name.lower()
        if right in PARTS and PARTS[right] not in folders:  # Test/
            raise UserError(f"{path}: {top}{name}/ must be named {right}/: {_rename(path, top + name, top + right)}")
    if "train" not in folders:
        raise UserError(f"{path}: no {top}train/{_remedy_without_train(path, top, beside)}")
    return folders


def _rename(path: Path, old: str, new: str) -> str:
    if path.is_file():
        return "rename it in the .zip"
    return shlex.join(["mv", f"{path}/{old}", f"{path}/{new}"])


def _remedy_without_train(path: Path, top: str, beside: Sequence[str]) -> str:
    if not beside:
        return f": {LAYOUT}"
    there = f", but {first_of([f'{name}/' for name in beside])}: "
    if path.is_file():
        return f"{there}{LAYOUT}"
    if path.name.lower() == "train":
        return f"{there}set data.root={path.parent}"
    if below := [name for name in beside if (path / name / "train").is_dir()]:
        return f"{there}set data.root={path / below[0]}"
    if set(beside) & PARTS.keys():
        return f"{there}{LAYOUT}"
    move = f"cd {shlex.quote(str(path))} && mkdir .train && mv */ .train && mv .train train"
    return f"{there}expected train/<class>/<image>; if these are the classes: {move}"


def _classes(path: Path, folder: str, zipped: list[str] | None, note: Callable[[str], None]) -> dict[str, list[str]]:
    """Return the images of each folder in a part's folder; `zipped` are all names in a .zip."""
    found: dict[str, list[str]] = {}
    others: list[str] = []
    beside: list[str] = []
    depth = folder.count("/") + 1
    for name in names_in_folder(path, folder) if zipped is None else zipped:
        if not name.startswith(f"{folder}/"):
            continue
        parts = name.split("/")[depth:]  # class, ..., file; or class, ..., "" for a folder
        if is_hidden(parts) or parts == [""]:
            continue
        if len(parts) == 1:
            beside += parts if is_image(name) else []
            continue
        images = found.setdefault(parts[0], [])
        if is_image(name):
            images.append(name)
        elif parts[-1]:
            others.append(name)
    if empty := [name for name, images in found.items() if not images]:
        ignored = left_out(name for name in others if name.startswith(f"{folder}/{empty[0]}/"))
        why = f" ({ignored})" if ignored else ""
        raise UserError(f"{path}: {folder}/{empty[0]} holds no image{why}: add some or remove it")
    if others:
        note(f"{path}: {folder}/: {left_out(others)}")
    if beside:
        note(f"{path}: {folder}/: left out, in no class's folder: {len(beside):,} ({first_of(sorted(beside))})")
    return {name: sorted(found[name]) for name in sorted(found)}


def is_image(name: str) -> bool:
    return name[name.rfind(".") :].lower() in EXTENSIONS


def left_out(names: Iterable[str]) -> str:
    """Return a phrase that counts the files that are left out by their ending; "" if there are none."""
    endings = Counter(PurePosixPath(name).suffix.lower() or "none" for name in names)
    if not endings:
        return ""
    most_first = sorted(endings, key=lambda ending: (-endings[ending], ending))
    return f"left out by their ending: {endings.total():,} ({first_of(most_first)})"


def first_of(names: Sequence[str]) -> str:
    return " ".join([*names[:SHOWN], *["..."] * (len(names) > SHOWN)])


def folders_in(root: Path) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        _refuse(error)


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


def _refuse(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename}: {error.strerror}: make it readable, or move it elsewhere") from error


def _leads_back(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def names_in_zip(path: Path) -> list[str]:
    """Return the names of all files and folders in a .zip; those of folders end in /. Raises UserError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return list(entries_by_name(archive))
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a readable .zip ({error}): make it anew, or name a folder") from error


def entries_by_name(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    r"""Return the entries of a .zip by their names, with / in place of \ and without ./ and what macOS adds.

    Raises UserError for names that lead out of the archive, for files that are encrypted or compressed by anything but
    deflate, and for two different files of one name; of two equal files, one counts.
    """
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        parts = entry.filename.replace("\\", "/").split("/")
        if parts[0] == "" or re.fullmatch("[A-Za-z]:", parts[0]) or ".." in parts:
            raise UserError(f"{archive.filename}: the name {entry.filename!r} leads out of the .zip: make it anew")
        end = parts.pop()
        name = "/".join([*(part for part in parts if part not in ("", ".")), end])
        if name.startswith("__MACOSX/") or name == "":
            continue
        if entry.flag_bits & 1:
            raise UserError(f"{archive.filename}: {name} is encrypted: unzip it, and name the folder instead")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # bzip2 and LZMA, where zipfile cannot limit how much a few bytes become, and what it cannot decompress
            method = COMPRESSIONS.get(entry.compress_type, f"method {entry.compress_type}")
            raise UserError(
                f"{archive.filename}: {name} is compressed by {method}: make it anew by deflate, or unzip it"
            )
        same = entries.setdefault(name, entry)
        if (same.CRC, same.file_size) != (entry.CRC, entry.file_size):
            raise UserError(f"{archive.filename}: two different files are named {name}: remove one of them")
    return entries


def is_hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") for part in parts)


def _below_top(path: Path, names: list[str]) -> tuple[str, list[str]]:
    """Return the folder above train/ in a .zip, "" or "top/", and the names of the folders beside train/.

    Raises UserError if another folder is beside the one that holds train/.
    """
    parts = [name.split("/") for name in names]
    folders = list(dict.fromkeys(each[0] for each in parts if len(each) > 1 and not is_hidden(each[:1])))
    if "train" in folders:
        return "", folders
    tops = list(dict.fromkeys(each[0] for each in parts if len(each) > 2 and each[1] == "train"))
    if tops and len(folders) > 1:
        raise UserError(f"{path}: only one folder may be at the top if it holds train/, here are {first_of(folders)}")
    if len(folders) != 1 or folders[0].lower() in PARTS:
        return "", folders
    below = dict.fromkeys(each[1] for each in parts if len(each) > 2 and not is_hidden(each[:2]))
    return f"{folders[0]}/", list(below)
