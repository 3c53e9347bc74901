"""Picture of points in a plane, coloured by class, some with the image that they stand for."""

# M points, D features

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from figure.item_picture import drawn_item, is_set
from figure.picture import BLACK, MARGIN, TEXT, WHITE, abreast, shortened, text_width, write

SIDE, FINE = 880, 3  # pixels of the plane; it is drawn FINE times as large and shrunk, so that dots are round
DOT, TILE, BAG, FRAME = 4, 30, 64, 2  # pixels: radius of a dot, side of an image, side of a bag, width of its frame
PICTURES, APART = 90, 1.6  # number of images at most; distance between two, in sides of an image
NAMED = 40  # classes in the legend, at most
# Tableau 10: most people can distinguish them, also on a poor projector
COLOURS = ("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#8c8c8c")


@dataclass
class Point:
    """Features [D] of `picture`, an item or an element as `drawn_item` takes it, on the CPU; `label` is its colour."""

    features: Tensor
    label: int | float
    is_wrong: bool
    picture: Tensor


def drawn_points(places_M2: Tensor, points: Sequence[Point], names: Mapping[Any, str]) -> Image.Image:
    """Draw dots, some with their image, and a legend; dots of incorrect predictions are outlined black, on top."""
    colours = dict(zip(sorted(names), palette(len(names)), strict=True))
    side = BAG if is_set(points[0].picture) else TILE
    pixels_M2 = fitted_places(places_M2, side)
    sheet = Image.new("RGB", (SIDE * FINE, SIDE * FINE), WHITE)
    draw = ImageDraw.Draw(sheet)
    for number in sorted(range(len(points)), key=lambda number: points[number].is_wrong):
        x, y = (FINE * pixels_M2[number]).tolist()
        radius = FINE * DOT
        box = [x - radius, y - radius, x + radius, y + radius]
        outline = BLACK if points[number].is_wrong else WHITE
        draw.ellipse(box, fill=colours[points[number].label], outline=outline, width=FINE)
    sheet = sheet.resize((SIDE, SIDE), Image.Resampling.BOX)
    for number in spaced_apart(pixels_M2, side) if points[0].picture.ndim > 1 else ():  # a vector alone shows nothing
        paste_point(sheet, points[number], side, pixels_M2[number].tolist(), colours[points[number].label])
    return abreast([sheet, legend([(names[label], colours[label]) for label in sorted(names)])])


def palette(count: int) -> list[str]:
    """Return distinct colours for up to ten classes; for more, all hues, with neighbours far apart."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    shades = [(0.75, 0.85), (0.5, 0.6), (0.9, 0.55)]  # saturation, brightness
    hues = [(number * 0.618034 % 1, *shades[number % len(shades)]) for number in range(count)]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hsv_to_rgb(*hue)) for hue in hues]


def fitted_places(places_M2: Tensor, margin: int) -> Tensor:
    """Scale places to pixels, each axis by itself to the full side, as the axes have no unit."""
    low_2, high_2 = places_M2.amin(0), places_M2.amax(0)
    unit_M2 = (places_M2 - low_2) / (high_2 - low_2).clamp(min=1e-12)
    return margin / 2 + FRAME + unit_M2 * (SIDE - margin - 2 * FRAME)


def spaced_apart(pixels_M2: Tensor, side: int) -> list[int]:
    """Return the numbers of points whose images do not touch, chosen greedily in the given, random order."""
    kept: list[int] = []
    for number in range(len(pixels_M2)):
        distances = (pixels_M2[kept] - pixels_M2[number]).abs().amax(1)
        if len(kept) < PICTURES and bool((distances > APART * side).all()):
            kept.append(number)
    return kept


def paste_point(sheet: Image.Image, point: Point, side: int, centre: Sequence[float], colour: str) -> None:
    tile = drawn_item(point.picture, side)
    framed = Image.new("RGB", (tile.width + 2 * FRAME, tile.height + 2 * FRAME), colour)
    framed.paste(tile, (FRAME, FRAME))
    if point.is_wrong:
        framed = ImageOps.expand(framed, FRAME, BLACK)
    sheet.paste(framed, (round(centre[0] - framed.width / 2), round(centre[1] - framed.height / 2)))


def legend(colours: Sequence[tuple[str, str]]) -> Image.Image:
    """Draw names beside their colours; two classes may have the same name."""
    named = colours[:NAMED]
    short = [shortened(name, 140) for name, _ in named]
    more = [f"and {len(colours) - NAMED} more"] if len(colours) > NAMED else []
    height, left = TEXT + 7, 2 * MARGIN + TEXT
    width = left + MARGIN + round(max(text_width(text, TEXT) for text in [*short, *more]))
    sheet = Image.new("RGB", (width, height * len([*short, *more])), WHITE)
    draw = ImageDraw.Draw(sheet)
    for number, text in enumerate([*short, *more]):
        middle = number * height + height // 2
        if number < len(named):
            draw.ellipse([MARGIN, middle - TEXT // 2, MARGIN + TEXT, middle + TEXT // 2], fill=named[number][1])
        write(draw, (left, middle), text, TEXT)
    return sheet
