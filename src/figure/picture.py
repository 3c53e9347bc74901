"""What pictures for loggers are made of: images at a size that one can see, captions, grids; all are RGB."""

# C H W of an image, p side of a patch

from collections.abc import Sequence
from math import ceil, sqrt

import numpy
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

SIDE = 224  # pixels of an image in a picture: four fit into 1000
MARGIN = 8
TEXT = 15  # pixels
RED, BLUE = (1.0, 0.1, 0.1), (0.1, 0.4, 1.0)  # parts of the brightness
WHITE, BLACK, BOX = (255, 255, 255), (0, 0, 0), (255, 96, 0)


def drawn(image_CHW: Tensor, side: int = SIDE) -> Image.Image:
    """uint8 [C, H, W], gray or RGB (of more channels the first three), its longer side `side` pixels long."""
    channels = 3 if image_CHW.shape[0] >= 3 else 1
    pixels_HWC = image_CHW[:channels].movedim(0, 2).cpu().numpy()
    return fitted(Image.fromarray(numpy.repeat(pixels_HWC, 3 // channels, axis=2)), side)


def fitted(image: Image.Image, side: int = SIDE) -> Image.Image:
    """Pixels of a small image become squares, those of a large one are averaged."""
    factor = side / max(image.size)
    whole = ceil(factor)
    squares = image.resize((image.width * whole, image.height * whole), Image.Resampling.NEAREST)
    return squares.resize([max(1, round(length * factor)) for length in image.size], Image.Resampling.BOX)


def tinted(
    image_CHW: Tensor, map_HW: Tensor, side: int = SIDE, uncovered: tuple[int, int, int] | None = None
) -> Image.Image:
    """The image as brightness, the map as red (above 0) and blue; where it is NaN a colour, or the image alone.

    Full colour is what 5% of the covered pixels exceed: at the border, under few patches, there can be many times the
    rest.
    """
    image_CHW, map_HW = image_CHW.cpu(), map_HW.float().cpu()
    covered_HW = ~map_HW.isnan()
    said_N = map_HW[covered_HW].abs()
    largest = said_N.kthvalue(ceil(0.95 * len(said_N))).values if len(said_N) else torch.tensor(1.0)
    strength_HW1 = (map_HW / largest.clamp(min=torch.finfo(torch.float32).tiny)).clamp(-1, 1).nan_to_num()[..., None]
    brightness_HW1 = 100 + 155 * image_CHW[:3].float().mean(0)[..., None] / 255
    colour_HW3 = torch.where(strength_HW1 > 0, torch.tensor(RED), torch.tensor(BLUE))
    pixels_HW3 = brightness_HW1 * torch.lerp(torch.ones(3), colour_HW3, strength_HW1.abs())
    if uncovered:
        pixels_HW3[~covered_HW] = torch.tensor(uncovered).float()
    return fitted(Image.fromarray(pixels_HW3.round().to(torch.uint8).numpy()), side)


def boxed(image_CHW: Tensor, corners_N2: Tensor, patch_size: int) -> Image.Image:
    """The image, with the outlines of the patches whose upper left corners (y, x) are given."""
    picture = drawn(image_CHW)
    draw = ImageDraw.Draw(picture)
    factor = picture.width / image_CHW.shape[2]
    for y, x in corners_N2.tolist():
        draw.rectangle(
            [x * factor, y * factor, (x + patch_size) * factor - 1, (y + patch_size) * factor - 1], outline=BOX
        )
    return picture


def mosaic(images: Sequence[Tensor], side: int = SIDE, most: int = 64) -> Image.Image:
    """The first `most` of several images [C, H, W] of one size, in a square of about `side`."""
    columns = ceil(sqrt(min(len(images), most)))
    tiles = [drawn(image_CHW, max(1, side // columns - 2)) for image_CHW in images[:most]]
    return grid(tiles, columns, margin=2)


def grid(pictures: Sequence[Image.Image], columns: int, margin: int = MARGIN) -> Image.Image:
    """Pictures in rows on white, each as high as its highest; all in columns as wide as the widest."""
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
    """Pictures side by side on white, each as wide as it is."""
    width = sum(picture.width + margin for picture in pictures) - margin
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures)), WHITE)
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + margin
    return sheet


def captioned(picture: Image.Image, *lines: str, width: int = 0) -> Image.Image:
    """Lines of text above the picture, which becomes at least `width` wide; of long lines the middle is left out."""
    height = TEXT + 4
    sheet = Image.new("RGB", (max(width, picture.width), height * len(lines) + picture.height), WHITE)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        draw.text((0, number * height), shortened(line, sheet.width), BLACK, font(TEXT))
    sheet.paste(picture, (0, height * len(lines)))
    return sheet


def framed(picture: Image.Image) -> Image.Image:
    """A margin around the whole."""
    sheet = Image.new("RGB", (picture.width + 2 * MARGIN, picture.height + 2 * MARGIN), WHITE)
    sheet.paste(picture, (MARGIN, MARGIN))
    return sheet


def shortened(text: str, width: int, size: int = TEXT) -> str:
    """The text, or as much of its beginning and its end as is drawn in `width` pixels, and dots between them."""
    short, kept = text, len(text)
    while kept and font(size).getlength(short) > width:
        kept -= 1
        short = f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"
    return short


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
