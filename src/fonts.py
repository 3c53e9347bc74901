"""Fonts for names in any script: the letters that a font lacks, and a font of this system that has them."""

import os
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from PIL import ImageFont

FOLDERS = [  # searched in this order
    *(Path(folder) / "fonts" for folder in (os.environ.get("XDG_DATA_HOME") or "~/.local/share", "/usr/local/share")),
    Path("~/.fonts"),
    Path("/usr/share/fonts"),
    *(Path(folder) / "Library" / "Fonts" for folder in ("~", "/", "/System")),  # macOS
    Path("/mnt/c/Windows/Fonts"),  # WSL2
]
ENDINGS = (".ttf", ".otf", ".ttc")
BOXES_ONLY = re.compile("LastResort|NotDef|Blank", re.IGNORECASE)  # fonts that have a box or nothing for every letter
NO_LETTER = "\uffff"  # no font has it, so its picture is the box that stands for a missing letter
SIZE = 16  # pixels, of the letters that are compared with the box


@cache
def default(size: float) -> ImageFont.FreeTypeFont:
    """Return the font that comes with Pillow: letters of English only."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def lacking(font: ImageFont.FreeTypeFont, text: str) -> str:
    """Return the letters of the text that the font would draw as boxes, sorted."""
    letters = sorted({letter for letter in text if not letter.isspace()})
    box = bytes(font.getmask(NO_LETTER))
    return "".join(letter for letter in letters if bytes(font.getmask(letter)) == box)


def composed(text: str) -> str:
    """Return the text with one character per accented letter, as fonts have them; macOS stores names decomposed."""
    return unicodedata.normalize("NFC", text)


@cache
def find(letters: str) -> Path | None:
    """Return a font file of this system that has all the letters, upright and without serifs if possible."""
    return next((path for path in _installed() if (font := _opened(path)) and not lacking(font, letters)), None)


def pieces(text: str, size: float) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """Split a text into pieces, each with a font that has its letters; one piece if a single font has all of them.

    Letters that no font has stay in a piece of the default font.
    """
    text, font = composed(text), default(size)
    letters = "" if text.isascii() else lacking(font, text)
    path = find(letters) if letters else None
    if path is None:
        return [(text, font)]
    other = ImageFont.truetype(path, size)
    if not lacking(other, text):
        return [(text, other)]
    parts = re.split(f"([{re.escape(letters)}]+)", text)
    return [(part, other if number % 2 else font) for number, part in enumerate(parts) if part]


def drawable(text: str) -> bool:
    """Return whether the default font or another one of this system has all the letters."""
    letters = "" if text.isascii() else lacking(default(SIZE), composed(text))
    return not letters or find(letters) is not None


@cache
def _installed() -> list[Path]:
    found = [path for folder in FOLDERS for path in _files(folder.expanduser())]
    return sorted(found, key=lambda path: _rank(path.stem))  # stable: in the order of the folders


def _files(folder: Path) -> Iterable[Path]:
    paths = (Path(root, name) for root, _, names in os.walk(folder) for name in sorted(names))
    return [path for path in paths if path.suffix.lower() in ENDINGS and not BOXES_ONLY.search(path.stem)]


def _rank(name: str) -> tuple[bool, bool]:
    special = re.search("bold|italic|oblique|slanted|thin|light|black|mono|math|condensed|display", name.lower())
    return special is not None, "sans" not in name.lower()


def _opened(path: Path) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(path, SIZE)
    except OSError:  # damaged, or of pixels of another size, as fonts of emoji are
        return None
