"""Picture of an item or an element, whatever it is made of: an image, a bag of images, a set of vectors."""

# N elements, F features of a vector

from math import ceil

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from figure.heat import heated, scaled
from figure.picture import SIDE, WHITE, drawn, mosaic

MOST_POINTS, FINE = 2000, 3  # points of a set that are drawn; the plane is drawn FINE times as large and shrunk
PALE, DARK = (198, 214, 234), (8, 48, 107)  # of a third feature, from its smallest value to its largest
FRAME = (205, 210, 218)
Limits = tuple[Tensor, Tensor]  # the smallest and the largest value of each feature, [F] each


def is_set(item: Tensor) -> bool:
    """Return whether an item is a set: a bag [n, C, H, W] or vectors [n, F]."""
    return item.ndim in (2, 4)


def drawn_item(item: Tensor, side: int = SIDE, limits: Limits | None = None) -> Image.Image:
    """Draw an image [C, H, W], a bag [n, C, H, W], vectors [n, F] or a vector [F].

    Vectors of up to three features are points in a plane, as `drawn_points` says; others are columns of colours.
    """
    if item.ndim == 4:
        return mosaic(list(item), side)
    if item.ndim == 3:
        return drawn(item, side)
    vectors_NF = item.detach().float().cpu().reshape(-1, item.shape[-1])
    return drawn_points(vectors_NF, side, limits) if vectors_NF.shape[1] <= 3 else drawn_columns(vectors_NF, side)


def limits_of(vectors_NF: Tensor) -> Limits:
    """Return the smallest and the largest value of each feature, between which sets of one picture are drawn."""
    finite_NF = vectors_NF.detach().float().cpu().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return finite_NF.amin(0), finite_NF.amax(0)


def drawn_points(vectors_NF: Tensor, side: int, limits: Limits | None = None) -> Image.Image:
    """Draw vectors [N, F], F <= 3, as points (x, y): y runs downwards as in images, a third feature darkens its point.

    A single feature is x. At most MOST_POINTS are drawn.
    """
    vectors_NF = vectors_NF[:: ceil(len(vectors_NF) / MOST_POINTS)].nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    low_F, high_F = limits or limits_of(vectors_NF)
    unit_NF = ((vectors_NF - low_F) / (high_F - low_F).clamp(min=1e-12)).clamp(0, 1)
    if unit_NF.shape[1] == 1:
        unit_NF = torch.cat([unit_NF, torch.full_like(unit_NF, 0.5)], dim=1)
    shade_N = unit_NF[:, 2] if unit_NF.shape[1] == 3 else torch.ones(len(unit_NF))
    colours_N3 = torch.lerp(torch.tensor(PALE).float(), torch.tensor(DARK).float(), shade_N[:, None])
    radius = max(1.0, side / 40 / max(1.0, len(unit_NF) / 50) ** 0.5) * FINE
    sheet = Image.new("RGB", (side * FINE, side * FINE), WHITE)
    draw = ImageDraw.Draw(sheet)
    centres_N2 = 2 * radius + unit_NF[:, :2] * (side * FINE - 4 * radius)
    for (x, y), colour in zip(centres_N2.tolist(), colours_N3.round().int().tolist(), strict=True):
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=tuple(colour))
    draw.rectangle([0, 0, side * FINE - 1, side * FINE - 1], outline=FRAME, width=FINE)
    return sheet.resize((side, side), Image.Resampling.BOX)


def drawn_columns(vectors_NF: Tensor, side: int) -> Image.Image:
    """Draw a column for each vector and a row for each feature, from dark to bright, each feature on its own scale."""
    shown_FN = torch.stack([scaled(feature_N) for feature_N in vectors_NF[:side].unbind(1)])
    if len(vectors_NF) == 1:
        shown_FN = scaled(vectors_NF[0])[:, None]  # there is nothing else to compare a feature with
    size = (side, side) if len(vectors_NF) > 1 else (max(1, side // 8), side)
    return heated(shown_FN).resize(size, Image.Resampling.NEAREST)
