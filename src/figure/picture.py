"""Pictures for loggers: images at a visible size, captions and grids, all RGB, and how they are logged."""

# C H W of an image, p side of a patch

import logging
from collections.abc import Sequence
from functools import cache
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy
import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

import fonts
from adapter import lightning

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

log = logging.getLogger(__name__)

SIDE = 224  # pixels of an image in a picture: four fit into 1000
MARGIN = 8
TEXT = 15  # pixels
RED, BLUE = (1.0, 0.1, 0.1), (0.1, 0.4, 1.0)  # factors of the brightness
WHITE, BLACK, BOX = (255, 255, 255), (0, 0, 0), (255, 96, 0)


class WarnOnFailure:
    """Context manager that logs the first exception as a warning, so that a failed figure does not end the training."""

    def __init__(self, description: str) -> None:
        self.description, self.failed = description, False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        if not self.failed:
            log.warning(f"no {self.description}: {type(error).__name__}: {error}")
        self.failed = True
        return True


def loggers_with(trainer: "Trainer", method: str) -> list[Any]:
    """Return the loggers with a method `log_image`, `log_histogram` or `log_text`; none on ranks other than 0."""
    return [logger for logger in trainer.loggers if hasattr(logger, method)] if trainer.is_global_zero else []


def has_picture_logger(trainer: "Trainer") -> bool:
    """Return whether any logger accepts images. Collective: call it on every rank."""
    return bool(trainer.strategy.broadcast(bool(loggers_with(trainer, "log_image"))))


def log_picture(trainer: "Trainer", name: str, picture: Image.Image) -> None:
    """Log a picture with a white margin to all loggers that accept images. Raises TypeError for another type."""
    if not isinstance(picture, Image.Image):
        raise TypeError(f"{name}: a {type(picture).__name__} is no picture: give a PIL image")
    pixels_HWC = numpy.array(ImageOps.expand(picture.convert("RGB"), MARGIN, WHITE))
    for logger in loggers_with(trainer, "log_image"):
        logger.log_image(name, pixels_HWC, lightning.logged_step(trainer))


def log_text(trainer: "Trainer", name: str, text: str) -> None:
    """Write a text file with the loggers that keep files; others have no place for text."""
    for logger in loggers_with(trainer, "log_text"):
        logger.log_text(name, text)


def class_names(trainer: "Trainer") -> tuple[str, ...]:
    """Return the names of the classes or labels of the data; none for data without them."""
    return tuple(getattr(getattr(trainer, "datamodule", None), "class_names", ()))


def class_name(trainer: "Trainer", label: int) -> str:
    """Return the name of a class as pictures can show it (see `drawable_names`); `3` for a label without a name."""
    names = drawable_names(class_names(trainer))
    return (names[label] if label < len(names) else "") or str(label)


@cache
def drawable_names(names: tuple[str, ...]) -> list[str]:
    """Return the names of the classes, those in letters that no font of this system has as `class 3`.

    A line in the log says which class has which number.
    """
    shown = [name if fonts.drawable(name) else f"class {label}" for label, name in enumerate(names)]
    if key := legend_of_numbers(names, shown):
        log.info(f"no font of this system has the letters of some class names: pictures show {key}")
    return shown


def legend_of_numbers(names: Sequence[str], shown: Sequence[str]) -> str:
    """Return `class 1 for 猫, class 4 for 犬`: the names that are shown otherwise; an empty text if there are none."""
    return ", ".join(f"{other} for {name}" for name, other in zip(names, shown, strict=True) if other != name)


def drawn(image_CHW: Tensor, side: int = SIDE) -> Image.Image:
    """Draw uint8 [C, H, W], gray or RGB (the first three of more channels), `side` pixels on the longer side."""
    channels = 3 if image_CHW.shape[0] >= 3 else 1
    pixels_HWC = image_CHW[:channels].movedim(0, 2).cpu().numpy()
    return fitted(Image.fromarray(numpy.repeat(pixels_HWC, 3 // channels, axis=2)), side)


def fitted(image: Image.Image, side: int = SIDE) -> Image.Image:
    """Resize to `side` pixels on the longer side: pixels become squares, or are averaged where the image shrinks."""
    factor = side / max(image.size)
    whole = ceil(factor)
    squares = image.resize((image.width * whole, image.height * whole), Image.Resampling.NEAREST)
    return squares.resize([max(1, round(length * factor)) for length in image.size], Image.Resampling.BOX)


def tinted(
    image_CHW: Tensor, map_HW: Tensor, side: int = SIDE, uncovered: tuple[int, int, int] | None = None
) -> Image.Image:
    """Draw the image as brightness and the map as red (above 0) and blue (below 0).

    Pixels where the map is NaN have the colour `uncovered`, or show the image alone if `uncovered` is None. The colour
    saturates at the value that 5% of the covered pixels exceed, as values at the border, under few patches, can be many
    times larger.
    """
    image_CHW, map_HW = image_CHW.cpu(), map_HW.float().cpu()
    covered_HW = ~map_HW.isnan()
    value_N = map_HW[covered_HW].abs()
    largest = value_N.kthvalue(ceil(0.95 * len(value_N))).values if len(value_N) else torch.tensor(1.0)
    strength_HW1 = (map_HW / largest.clamp(min=torch.finfo(torch.float32).tiny)).clamp(-1, 1).nan_to_num()[..., None]
    brightness_HW1 = 100 + 155 * image_CHW[:3].float().mean(0)[..., None] / 255
    colour_HW3 = torch.where(strength_HW1 > 0, torch.tensor(RED), torch.tensor(BLUE))
    pixels_HW3 = brightness_HW1 * torch.lerp(torch.ones(3), colour_HW3, strength_HW1.abs())
    if uncovered:
        pixels_HW3[~covered_HW] = torch.tensor(uncovered).float()
    return fitted(Image.fromarray(pixels_HW3.round().to(torch.uint8).numpy()), side)


def boxed(image_CHW: Tensor, corners_N2: Tensor, patch_size: float) -> Image.Image:
    """Draw the image with outlines of the patches whose upper left corners (y, x) are given."""
    picture = drawn(image_CHW)
    draw = ImageDraw.Draw(picture)
    factor = picture.width / image_CHW.shape[2]
    for y, x in corners_N2.tolist():
        left, top, side = x * factor, y * factor, max(0.0, patch_size * factor - 1)
        draw.rectangle([left, top, left + side, top + side], outline=BOX)
    return picture


def outlined(images: Any, number: int, corners_N2: Tensor, patch_size: int) -> Image.Image:
    """Draw an image of a batch with outlines of patches; of LazyImages, a smaller version."""
    if isinstance(images, Tensor):
        return boxed(images[number], corners_N2, patch_size)
    (smaller_Chw,) = images[[number]].pictures(2 * SIDE)
    scale = float(images.sizes_B2[number].max()) / max(smaller_Chw.shape[1:])
    return boxed(smaller_Chw, corners_N2 / scale, patch_size / scale)


def mosaic(images: Sequence[Tensor], side: int = SIDE, most: int = 64) -> Image.Image:
    """Draw the first `most` images [C, H, W], all of one size, in a square of about `side` pixels."""
    columns = ceil(sqrt(min(len(images), most)))
    tiles = [drawn(image_CHW, max(1, side // columns - 2)) for image_CHW in images[:most]]
    return grid(tiles, columns, margin=2)


def grid(pictures: Sequence[Image.Image], columns: int, margin: int = MARGIN) -> Image.Image:
    """Arrange pictures in rows on white; a row is as high as its highest picture, a column as wide as the widest."""
    width = max(picture.width for picture in pictures) + margin
    rows = [pictures[first : first + columns] for first in range(0, len(pictures), columns)]
    heights = [max(picture.height for picture in row) + margin for row in rows]
    sheet = Image.new("RGB", (width * len(rows[0]) - margin, sum(heights) - margin), WHITE)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            sheet.paste(picture, (column * width, top))
        top += height
    return sheet


def abreast(pictures: Sequence[Image.Image], margin: int = MARGIN) -> Image.Image:
    """Arrange pictures side by side on white."""
    width = sum(picture.width + margin for picture in pictures) - margin
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures)), WHITE)
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + margin
    return sheet


def captioned(picture: Image.Image, *lines: str, width: int = 0) -> Image.Image:
    """Write lines above the picture, widened to `width` if it is narrower; the middle of long lines is left out."""
    height = TEXT + 4
    sheet = Image.new("RGB", (max(width, picture.width), height * len(lines) + picture.height), WHITE)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        write(draw, (0, (number + 0.5) * height), shortened(line, sheet.width), TEXT)
    sheet.paste(picture, (0, height * len(lines)))
    return sheet


def shortened(text: str, width: int, size: int = TEXT) -> str:
    """Return the text, or as much of its beginning and end as fits into `width` pixels, with dots between them."""
    short, kept = text, len(text)
    while kept and text_width(short, size) > width:
        kept -= 1
        short = f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"
    return short


def text_width(text: str, size: int) -> float:
    return sum(font.getlength(piece) for piece, font in fonts.pieces(text, size))


def write(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    colour: tuple[int, int, int] = BLACK,
    align: str = "left",
) -> None:
    """Write a line in letters of any script.

    Args:
        place: x of the line's left end, centre or right end, as `align` says, and y of its middle.
        align: `left`, `centre` or `right`.
    """
    x, y = place
    x -= {"left": 0, "centre": 0.5, "right": 1}[align] * text_width(text, size)
    for piece, font in fonts.pieces(text, size):
        draw.text((x, y), piece, colour, font, anchor="lm")
        x += font.getlength(piece)
