"""The pictures of the page: where the patches lie, what they say, and each by itself."""

# N elements, C H W of an image, p side of a patch

from collections.abc import Sequence
from math import ceil

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from explore.chosen_set import ChosenSet
from figure.picture import drawn, font, shortened, tinted

SIDE = 448  # pixels of an image on the page, at most
CELL, GAP, LINE = 96, 6, 14  # an image in a sheet of several
IN, OUT, UNSEEN = (255, 140, 40), (130, 140, 158), (240, 243, 248)
FOR, AGAINST, CALM = (214, 40, 40), (40, 96, 214), (205, 210, 218)
WHITE, INK = (255, 255, 255), (70, 78, 92)


def outlined(image_CHW: Tensor, chosen: ChosenSet, patch_size: int) -> Image.Image:
    """The image, pale where no patch lies; outlines of the patches that are in, thin ones of those that are out."""
    height, width = image_CHW.shape[1:]
    seen_HW = torch.zeros(height, width, dtype=torch.bool)
    for number in chosen.inside():
        y, x = chosen.corner(number)
        seen_HW[y : y + patch_size, x : x + patch_size] = True
    picture = drawn(image_CHW, SIDE)
    mask = Image.fromarray((~seen_HW).to(torch.uint8).mul(235).numpy()).resize(picture.size, Image.Resampling.NEAREST)
    picture.paste(Image.new("RGB", picture.size, UNSEEN), mask=mask)

    lines = Image.new("RGBA", picture.size)
    pen = ImageDraw.Draw(lines)
    strength = 255 if len(chosen.inside()) <= 16 else 150
    factor_x, factor_y = picture.width / width, picture.height / height
    for number in chosen.numbers():
        y, x = chosen.corner(number)
        box = (x * factor_x, y * factor_y, (x + patch_size) * factor_x - 1, (y + patch_size) * factor_y - 1)
        if number in chosen.out:
            pen.rectangle(box, outline=(*OUT, 150))
        else:
            pen.rectangle(box, outline=(*IN, strength), width=2)
    picture.paste(lines, mask=lines)
    return picture


def heat(image_CHW: Tensor, map_HW: Tensor) -> Image.Image:
    """See `tinted`; pale where no patch lies."""
    return tinted(image_CHW, map_HW, SIDE, UNSEEN)


def gallery(patches: Sequence[Tensor], scores: Sequence[float | None], columns: int, tile: int) -> Image.Image:
    """Every element in the order given, framed red and blue by what it says for and against; pale where it is out.

    Those that are out have no score, but None.
    """
    pitch, width = tile + GAP, tile // 26
    sheet = Image.new("RGB", (columns * pitch, rows(len(patches), columns) * pitch), WHITE)
    pen = ImageDraw.Draw(sheet)
    largest = max((abs(score) for score in scores if score is not None and score == score), default=0.0) or 1.0
    for place, (patch_Cpp, score) in enumerate(zip(patches, scores, strict=True)):
        left, top = place % columns * pitch, place // columns * pitch
        picture = drawn(patch_Cpp, tile - 2 * width)
        if score is None:
            picture = Image.blend(picture, Image.new("RGB", picture.size, WHITE), 0.8)
        frame = CALM if score is None else mixed(score / largest)
        pen.rectangle((left, top, left + tile - 1, top + tile - 1), outline=frame, width=width)
        sheet.paste(picture, (left + width, top + width))
    return sheet


def mixed(strength: float) -> tuple[int, ...]:
    """A colour between calm and red (1) or blue (-1); calm for NaN."""
    if strength != strength:
        return CALM
    end = FOR if strength > 0 else AGAINST
    part = min(1.0, abs(strength)) ** 0.5
    return tuple(round(calm + part * (full - calm)) for calm, full in zip(CALM, end, strict=True))


def contact_sheet(pictures: Sequence[Image.Image], captions: Sequence[Sequence[str]], columns: int) -> Image.Image:
    """Pictures of at most CELL pixels in rows, each with short lines under it, in cells of one size (see `cell`)."""
    pitch_x, pitch_y = CELL + GAP, CELL + GAP + LINE * max(map(len, captions), default=0)
    sheet = Image.new("RGB", (columns * pitch_x, rows(len(pictures), columns) * pitch_y), WHITE)
    pen = ImageDraw.Draw(sheet)
    for place, (picture, lines) in enumerate(zip(pictures, captions, strict=True)):
        left, top = place % columns * pitch_x, place // columns * pitch_y
        sheet.paste(picture, (left, top))
        for number, text in enumerate(lines):
            words = shortened(text, CELL, LINE - 2)
            pen.text((left, top + CELL + number * LINE), words, INK, font(LINE - 2))
    return sheet


def rows(count: int, columns: int) -> int:
    """Of a sheet of so many cells."""
    return max(1, ceil(count / columns))


def cell(x: float, y: float, count: int, columns: int) -> int | None:
    """Which of `count` cells in rows lies at these parts of the sheet's width and height."""
    place = int(y * rows(count, columns)) * columns + int(x * columns)
    return place if place < count else None
