"""Feature maps as pictures: rows of maps under the image, or a row of them for each patch."""

# n patches, C maps of h w, D features

from collections.abc import Sequence

import torch
from PIL.Image import Image, Resampling, fromarray
from torch import Tensor

from figure.one_item import by
from figure.picture import abreast, captioned, drawn, fitted, grid
from figure.stages import Stage

MAPS, SIDE = 12, 76  # of an image: maps of a layer, and pixels of one
PATCH_MAPS, PATCH_SIDE = 6, 44  # of a patch
BAR = 320  # pixels of the features of a patch, at most
# from nothing to much
HEAT = torch.tensor([[8, 6, 24], [84, 18, 109], [187, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=torch.float32)


def drawn_stages(image: Image, title: str, stages: Sequence[Stage]) -> Image:
    """Each map on its own scale, from its smallest value to its largest."""
    rows = []
    for stage in stages:
        maps_Chw, words = stage.values[0], f"{stage.name}: {by(stage.values.shape[1:])}"
        chosen_M = most_varied(stage.values, MAPS)
        tiles = [fitted(heated(scaled(maps_Chw[number])), SIDE) for number in chosen_M]
        constant = int((maps_Chw.flatten(1).amax(1) == maps_Chw.flatten(1).amin(1)).sum())
        still = f"; {constant} are the same everywhere" if constant else ""
        chosen = f", the {len(tiles)} that vary most" if len(tiles) < len(maps_Chw) else ""
        rows.append(captioned(grid(tiles, MAPS, margin=4), f"{words}{chosen}{still}", width=MAPS * (SIDE + 4)))
    note = "After each convolution with normalisation and activation. Dark to bright: lowest to highest of a map."
    return grid([captioned(image, title, note, width=MAPS * (SIDE + 4)), *rows], 1)


def drawn_patches(whole: Image, title: str, word: str, patches: Sequence[Tensor], stages: Sequence[Stage]) -> Image:
    """A row for each patch or element; the values of a layer on one scale, so that they can be compared."""
    columns = [column_of(stage, len(patches)) for stage in stages]
    thumbs = [fitted(drawn(patch_Cpp), PATCH_SIDE) for patch_Cpp in patches]
    table = abreast([captioned(grid(thumbs, 1, margin=4), word, width=56), *columns], margin=20)
    note = "Dark to bright: smallest to largest value of a layer."
    return grid([captioned(whole, title, note, width=max(480, table.width)), table], 1)


def column_of(stage: "Stage", rows: int) -> Image:
    values = stage.values[:rows]
    if values.ndim == 4:
        chosen_M = most_varied(values, PATCH_MAPS)
        shown_nMhw = scaled(values[:, chosen_M])
        tiles = [fitted(heated(map_hw), PATCH_SIDE) for maps_Mhw in shown_nMhw for map_hw in maps_Mhw]
        column = grid(tiles, len(chosen_M), margin=4)
    else:
        width = values.shape[1] * max(1, BAR // values.shape[1])
        bars = [heated(bar_D[None]).resize((min(width, BAR), PATCH_SIDE), Resampling.BOX) for bar_D in scaled(values)]
        column = grid(bars, 1, margin=4)
    return captioned(column, f"{stage.name}: {by(values.shape[1:])}")


def most_varied(values_nChw: Tensor, count: int) -> list[int]:
    """The numbers of the maps of largest standard deviation, in ascending order."""
    spread_C = values_nChw.movedim(1, 0).flatten(1).std(1, correction=0)
    return sorted(spread_C.argsort(descending=True, stable=True)[:count].tolist())


def scaled(values: Tensor) -> Tensor:
    """To 0 ... 1; to 0 where all are equal."""
    low, high = values.aminmax()
    return (values - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)


def heated(unit_hw: Tensor) -> Image:
    place_hw = unit_hw.nan_to_num(nan=0.0) * (len(HEAT) - 1)
    below_hw = place_hw.floor().long().clamp(0, len(HEAT) - 2)
    colours_hw3 = torch.lerp(HEAT[below_hw], HEAT[below_hw + 1], (place_hw - below_hw)[..., None])
    return fromarray(colours_hw3.round().to(torch.uint8).numpy())
