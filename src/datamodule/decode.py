"""Decoding of an image file to uint8 [C, H, W] as its owner sees it, with the same pixels on every machine.

Pillow: torchvision's decoders (2.5 times as fast on small JPEGs, same pixels) are deprecated since 0.29.
"""

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datamodule.class_folders import FORMATS

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

# C channels, H height, W width

ORIENTATION = 0x0112  # the EXIF tag
TURNS = {  # by its value; 1 is upright
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
BITS_PER_SAMPLE, WHITE_IS_ZERO, PLANES, SAMPLE_FORMAT = 258, 262, 284, 339  # TIFF tags
TWELVE_BITS, SIXTEEN_BITS = 2**12 - 1, 2**16 - 1
TO_EIGHT_BITS = "convert it to 8 bits"
MAX_MEGAPIXELS = 1000
BLOCK = 2**20  # pixels that are converted at once
# of the formats that are read, AVIF alone is missing in the oldest Pillow
READ = [name for name in FORMATS if name != "AVIF" or find_spec("PIL.AvifImagePlugin")]


class TooManyPixelsError(ValueError):
    """Error for an image, or a part of its file, with more pixels than the limit."""

    def __init__(self, pixels: int) -> None:
        super().__init__(pixels)
        self.pixels = pixels


class LevelsError(ValueError):
    """Error for an image whose levels cannot be converted to 8 bits; its message contains the remedy."""


def decode(
    data: bytes,
    channels: int,
    image_size: tuple[int, ...] | None,
    white: float | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Tensor:
    """Decode to grey (channels=1) or RGB (3), stretched to image_size with antialiased bilinear interpolation.

    With image_size=None, the image keeps its size.

    The first frame is read and turned upright by its EXIF orientation. Palettes and colour spaces are converted,
    transparent pixels become white. Grey levels of more than 8 bits become round(255 * level / white). `white` is
    what the file states (a maximum below 65535 of PGM, 4095 for TIFF of 12 bits), else the argument, else 65535 for
    unsigned 16 bits. A level below 0 or above white raises LevelsError, and so do, without the argument, levels of 32
    bits or floating point, and 16 bits that contain no level above 4095: these may be 12 bits, or a dark image. Colours
    of 16 bits become level // 256; they may be dark only with white=65535. Raises TooManyPixelsError, mostly before
    anything is decoded, and ValueError, or Pillow's own exceptions, for data that are no image.

    An image takes 1 to 4 bytes per pixel once decoded, and at most 4 more while it is converted. Pillow's decoders of
    some formats take more themselves: 10 bytes per pixel for AVIF, 21 for WebP, 34 for QOI.
    """
    import numpy as np
    from PIL import Image

    # Pillow has one limit for the process; it checks what is embedded too: the tiles of a TIFF, the image in an icon
    Image.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged metadata: the image counts
    warnings.simplefilter("error", Image.DecompressionBombWarning)  # up to twice the limit, Pillow would only warn
    try:
        image = _upright(data, "L" if channels == 1 else "RGB", white)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixelsError(int(re.findall(r"\d+", str(error))[0])) from error
    height, width = image_size or image.size[::-1]
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    if channels == 3 and image.mode == "L":  # only now: before, it would take four times the memory
        image = image.convert("RGB")
    pixels_HWC = torch.from_numpy(np.array(image)).view(height, width, channels)
    return pixels_HWC.permute(2, 0, 1).contiguous()


def decoder_version() -> str:
    """Return a text that differs wherever `decode` may give other pixels: of this file, Pillow and its libraries."""
    from PIL import __version__, features

    names = [*features.codecs, *({"webp", "avif"} & features.modules.keys())]  # the oldest Pillow knows no AVIF
    libraries = " ".join(f"{name}={features.version(name)}" for name in sorted(names))
    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    return f"{own} pillow={__version__} {libraries}"


def _upright(data: bytes, mode: str, white: float | None) -> "Image.Image":
    """Decode to L, or to a colour image of the mode, and turn upright."""
    from PIL import Image

    file = Image.open(io.BytesIO(data), formats=READ)  # no `with`: nothing is to be closed
    image = _grey(file, white) if file.mode[0] in "IF" else _eight_bits(file, mode, white)
    image.load()
    turn = TURNS.get(_orientation(file))
    del file  # if it was converted, it is in no one's memory while the image is turned
    return image.transpose(Image.Transpose[turn]) if turn else image


def _orientation(image: "ImageFile") -> Any:
    if not image.info.keys() & {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}:
        return None  # also TIFF, which Pillow has turned upright already
    try:
        return image.getexif().get(ORIENTATION)
    except Exception:  # damaged EXIF: the image is used as it is stored, as viewers do
        return None


def _blocks(image: "Image.Image") -> Iterator[tuple[int, int, int, int]]:
    """Yield boxes (left, top, right, bottom) of at most BLOCK pixels that cover the image."""
    width, height = image.size
    columns = min(width, BLOCK)
    rows = max(1, BLOCK // columns)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield left, top, min(left + columns, width), min(top + rows, height)


def _by_blocks(image: "Image.Image", mode: str, convert: Callable[["Image.Image"], "Image.Image"]) -> "Image.Image":
    """Return the image converted pixel by pixel to the mode, with no memory but that of the result."""
    from PIL import Image

    result = Image.new(mode, image.size)
    for box in _blocks(image):
        result.paste(convert(image.crop(box)), box[:2])
    return result


def _eight_bits(file: "ImageFile", mode: str, white: float | None) -> "Image.Image":
    """Return an image of 8 bits on white, L or of the mode. Raises LevelsError for levels that Pillow reads wrongly."""
    from PIL import Image

    tags, raw = getattr(file, "tag_v2", {}), {_raw_mode(tile.args) for tile in file.tile}
    wide = any(mode.endswith((";16L", ";16B", ";16N")) for mode in raw) or 16 in tags.get(BITS_PER_SAMPLE, ())
    if wide or _stated_maximum(file) == SIXTEEN_BITS:
        _check_sixteen_bits(file, tags, white)
    if tags.get(SAMPLE_FORMAT) and 2 in tags[SAMPLE_FORMAT]:
        raise LevelsError(f"signed levels of 8 bits: {TO_EIGHT_BITS} without a sign")
    transparent = file.has_transparency_data
    if file.mode == "L" and isinstance(level := file.info.get("transparency"), int):
        # Pillow stretches 2 and 4 bits to 0 .. 255, but not the transparent level
        file.info["transparency"] = level * {"L;2": 85, "L;4": 17}.get(next(iter(raw), ""), 1)
    if not transparent and file.mode in ("1", "L"):
        mode = "L"
    if not transparent and file.mode == mode:
        return file

    def convert(block: "Image.Image") -> "Image.Image":
        if transparent:
            block = Image.alpha_composite(Image.new("RGBA", block.size, "white"), block.convert("RGBA"))
        elif block.mode == "LAB":  # converts to RGB only
            block = block.convert("RGB")
        return block.convert(mode)

    return _by_blocks(file, mode, convert)


def _raw_mode(arguments: Any) -> str:
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _stated_maximum(file: "Image.Image") -> int | None:
    """Return the maximum that PGM and PPM of up to 16 bits state, before the file is decoded; None for other files."""
    if file.format != "PPM" or file.mode not in ("I", "RGB"):
        return None
    arguments: Any = file.tile[0].args  # type: ignore[attr-defined]  # (mode, maximum), or a mode of 8 or 16 bits
    if isinstance(arguments, tuple):
        return int(arguments[1])
    return SIXTEEN_BITS if file.mode == "I" else 255


def _check_sixteen_bits(image: "Image.Image", tags: Any, white: float | None) -> None:
    """Raise LevelsError for colours of 16 bits unless their upper 8 bits, which alone Pillow reads, are the image."""
    if tags.get(PLANES) == 2 or "transparency" in image.info:
        raise LevelsError(f"colours of 16 bits in planes or with a transparent colour: {TO_EIGHT_BITS}")
    if white not in (None, SIXTEEN_BITS):
        raise LevelsError(f"colours of 16 bits are read with data.white={SIXTEEN_BITS} only: {TO_EIGHT_BITS}")
    highest: Any = max(image.getchannel(band).getextrema()[1] for band in image.getbands() if band != "A")
    darkest = 16 if image.format == "PPM" else 15  # level 4095 // 256; Pillow rounds that of PPM
    if white is None and 0 < highest <= darkest:
        raise LevelsError(
            f"colours of 16 bits, none above level {highest} of 255: {TO_EIGHT_BITS}, "
            f"or set data.white={SIXTEEN_BITS} if it is meant to be so dark"
        )


def _grey(image: "Image.Image", white: float | None) -> "Image.Image":
    """Convert grey levels of more than 8 bits to 8 bits. Raises LevelsError."""
    import numpy as np
    from PIL import Image

    if image.format == "FITS":  # Pillow reads its signed levels as unsigned
        raise LevelsError(f"FITS of more than 8 bits: {TO_EIGHT_BITS} in another format")
    transparent, maximum = image.info.get("transparency", np.nan), _stated_maximum(image)

    def levels(block: "Image.Image") -> Any:
        return np.asarray(block).astype(np.float64)

    extremes = []
    for box in _blocks(image):
        levels_HW = levels(image.crop(box))
        if (seen := levels_HW[levels_HW != transparent]).size:
            extremes += [seen.min(), seen.max()]
    low, high = (float(np.min(extremes)), float(np.max(extremes))) if extremes else (0.0, 0.0)
    white = _white(image, maximum, high, white)
    if white is None or not -0.5 <= 255 / white * low <= 255 / white * high < 255.5:
        kind = {"F": "floating-point levels", "I": "integer levels"}[image.mode[0]]
        setting = "" if white is None else f", outside of 0 to {white:g} (data.white)"
        raise LevelsError(
            f"{kind} from {low:g} to {high:g}{setting}: {TO_EIGHT_BITS}, or set data.white to the level that is white"
        )
    scale = 255 / white
    # Pillow heeds it in 8 bits only
    inverted = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(WHITE_IS_ZERO) == 0

    def convert(block: "Image.Image") -> "Image.Image":
        levels_HW = levels(block)
        pixels_HW = (levels_HW * scale).round().clip(0, 255)
        if inverted:
            pixels_HW = 255 - pixels_HW
        pixels_HW[levels_HW == transparent] = 255
        return Image.fromarray(pixels_HW.astype(np.uint8))

    return _by_blocks(image, "L", convert)


def _white(image: "Image.Image", maximum: int | None, high: float, white: float | None) -> float | None:
    """Return the level that is white: what the file states, else the setting, else what its type says, if anything.

    A stated `maximum` of 65535 is the type's, as in all files of 16 bits.
    """
    if maximum is not None and maximum < SIXTEEN_BITS:
        return SIXTEEN_BITS  # Pillow has scaled the levels by it
    if 12 in getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, ()):
        return TWELVE_BITS
    if white is not None or not (image.mode.startswith("I;16") or maximum == SIXTEEN_BITS):
        return white
    if 0 < high <= TWELVE_BITS:
        raise LevelsError(
            f"16 bits, but no level above {high:g}: set data.white={TWELVE_BITS} if the camera has 12 bits, "
            f"or data.white={SIXTEEN_BITS} if it is meant to be so dark"
        )
    return SIXTEEN_BITS
