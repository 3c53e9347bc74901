"""The part of an image that a network has seen, patch by patch, and where it looks next, as a picture."""

# C H W of an image, n patches of it, R rows and X columns of places, p side of a patch

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from figure.heat import scaled
from figure.picture import drawn, text_width, write

UNSEEN, LIKELY = (240, 243, 248), (94, 60, 153)  # where no patch lies; there, the place of the largest score
BOX, INK = (255, 140, 40), (40, 24, 8)
TAG, PART = 12, 20  # pixels of the number of a patch: at least so many, and that part of the width of the picture


def seen_part(
    image_CHW: Tensor,
    corners: Sequence[Sequence[int]],
    patch_size: int,
    side: int,
    scores_RX: Tensor | None = None,
    opacity: int = 255,
) -> Image.Image:
    """Draw the image where patches lie, and elsewhere the scores of the next place, from pale to violet.

    The colour of a place is at the centre of its patch; that of the largest score is outlined.

    Args:
        side: pixels on the longer side.
        scores_RX: -inf where there is no next patch; None: pale everywhere.
        opacity: 0 to 255, of what hides the rest of the image.
    """
    height, width = image_CHW.shape[1:]
    seen_HW = torch.zeros(height, width, dtype=torch.bool)
    for y, x in corners:
        seen_HW[y : y + patch_size, x : x + patch_size] = True
    picture = drawn(image_CHW, side)
    below = Image.new("RGB", picture.size, UNSEEN)
    if scores_RX is not None:
        half = (patch_size - 1) / 2
        scores = _coloured(scores_RX.float().cpu())
        (left, top), (right, bottom) = (
            (round(x * picture.width / width), round(y * picture.height / height))
            for x, y in ((half, half), (half + scores.width, half + scores.height))
        )
        below.paste(scores.resize((right - left, bottom - top), Image.Resampling.NEAREST), (left, top))
    mask = Image.fromarray((~seen_HW).to(torch.uint8).mul(opacity).numpy()).resize(
        picture.size, Image.Resampling.NEAREST
    )
    picture.paste(below, mask=mask)
    if scores_RX is not None and scores_RX.isfinite().any():
        y, x = divmod(int(scores_RX.argmax()), scores_RX.shape[1])
        box = place_box(picture, (y, x), patch_size, (height, width))
        ImageDraw.Draw(picture).rectangle(box, outline=LIKELY, width=2)
    return picture


def place_box(
    picture: Image.Image, corner: Sequence[int], patch_size: int, image_size: Sequence[int]
) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a patch in the picture of an image, in pixels."""
    (top, left), (bottom, right) = (
        (round(y * picture.height / image_size[0]), round(x * picture.width / image_size[1]))
        for y, x in ((corner[0], corner[1]), (corner[0] + patch_size, corner[1] + patch_size))
    )
    return left, top, right - 1, bottom - 1


def _coloured(scores_RX: Tensor) -> Image.Image:
    """Colour each score between the smallest, pale, and the largest, violet; a place without a score is pale."""
    known_RX = scores_RX.isfinite()
    unit_RX = torch.zeros_like(scores_RX)
    if known_RX.any():
        unit_RX[known_RX] = scaled(scores_RX[known_RX])
    colours_RX3 = torch.lerp(torch.tensor(UNSEEN).float(), torch.tensor(LIKELY).float(), unit_RX[..., None])
    return Image.fromarray(colours_RX3.round().to(torch.uint8).numpy())


def number_boxes(
    picture: Image.Image, boxes: Sequence[tuple[str, Sequence[int]]], patch_size: int, image_size: Sequence[int]
) -> None:
    """Outline patches in the picture of an image, each with a short text at its corner; the last one has a thick line.

    Args:
        boxes: text and corner (y, x) of each.
    """
    pen = ImageDraw.Draw(picture)
    for number, (_, corner) in enumerate(boxes, 1):
        pen.rectangle(
            place_box(picture, corner, patch_size, image_size), outline=BOX, width=2 if number == len(boxes) else 1
        )
    write_numbers(picture, boxes, patch_size, image_size)


def write_numbers(
    picture: Image.Image, boxes: Sequence[tuple[str, Sequence[int]]], patch_size: int, image_size: Sequence[int]
) -> None:
    """Write the text of each patch in a corner of it, the upper left one if no earlier text is there."""
    pen, size = ImageDraw.Draw(picture), max(TAG, picture.width // PART)
    tags = list[tuple[int, int, int, int]]()
    for text, corner in boxes:
        left, top, right, bottom = place_box(picture, corner, patch_size, image_size)
        width, height = round(text_width(text, size)) + 5, size + 1
        corners = [(x, y) for y in (top, bottom - height) for x in (left, right - width)]
        free = [(x, y) for x, y in corners if not any(_overlap((x, y, x + width, y + height), tag) for tag in tags)]
        x, y = (free or corners)[0]
        tags.append((x, y, x + width, y + height))
        pen.rectangle(tags[-1], fill=BOX)
        write(pen, (x + 3, y + size / 2 + 1), text, size, INK)


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]
