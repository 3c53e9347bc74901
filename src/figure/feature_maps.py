"""Figure of the feature maps of one image, layer by layer, or of the features of its patches."""

# n patches, C maps of h w, D features

import logging
from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Image, Resampling
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn

from figure.activations import Activation, activations_of
from figure.answers import describe_target
from figure.heat import heated, scaled
from figure.item_figure import ItemFigure, format_shape
from figure.item_picture import drawn_item, limits_of
from figure.picture import abreast, captioned, drawn, fitted, grid, log_picture, outlined
from set_module.set_batch import SetBatch
from set_module.set_network import SetNetwork, temporary_patch_num

log = logging.getLogger(__name__)

PATCHES = 12  # rows of a picture, at most
MAPS, SIDE = 12, 76  # for an image: maps of a layer at most, pixels of a map
PATCH_MAPS, PATCH_SIDE = 6, 44  # the same for a patch
BAR = 320  # pixels of the bar of a patch's features, at most


class FeatureMaps(ItemFigure):
    """Feature maps of test image number `image` in its source, after each convolution.

    Networks of sets show the features of each patch instead, after each layer up to the pool. Raises ValueError unless
    `image` is a whole number >= 0.
    """

    description = "picture of the feature maps"

    def __init__(self, image: int) -> None:
        if type(image) is not int or image < 0:
            raise ValueError(f"image={image}: choose a whole number >= 0")
        self.index: int = image

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.wanted and not self.found:
            here = "" if trainer.world_size == 1 else " by the first process; visualize.py tests all in one"
            log.info(f"no picture of the feature maps: image {self.index} was not among those tested{here}")

    def draw(self, trainer: Trainer, network: Any, images: Any, target: Any, index_1: Tensor) -> None:
        kind = "image" if not isinstance(images, SetBatch) else "set" if images.values.ndim == 2 else "bag"
        title = ", ".join(filter(None, [f"{kind} {self.index}", describe_target(trainer, target)]))
        if not isinstance(network, SetNetwork):
            if layers := activations_of(network, "", (nn.Conv2d,), network, images, index_1):
                log_picture(trainer, "pictures/feature_maps", drawn_maps(drawn(images[0]), title, layers))
            return
        with temporary_patch_num(network, PATCHES):
            patches, corners = network.cut(images, index_1)
            layers = activations_of(network, "embed.", (nn.Conv2d, nn.Linear), network.encode, patches, corners)
            if network.encoder is not None:
                features_ND = network.encode(patches, corners).values
                layers.append(Activation("encoder", features_ND.detach().float().cpu()))
        shown = list(patches.values[:PATCHES])
        if corners is None:
            whole, heading = drawn_item(images[0]), "element"
        else:
            whole, heading = outlined(images, 0, corners.values[:PATCHES], shown[0].shape[-1]), "patch"
        log_picture(trainer, "pictures/feature_maps", drawn_patches(whole, title, heading, shown, layers))


def drawn_maps(image: Image, title: str, layers: Sequence[Activation]) -> Image:
    """Draw a row of maps for each layer, each map on its own scale from its smallest value to its largest."""
    rows = []
    for layer in layers:
        maps_Chw = layer.values[0]
        chosen_M = most_varied(layer.values, MAPS)
        tiles = [fitted(heated(scaled(maps_Chw[number])), SIDE) for number in chosen_M]
        constant = int((maps_Chw.flatten(1).amax(1) == maps_Chw.flatten(1).amin(1)).sum())
        note = f", the {len(tiles)} that vary most" if len(tiles) < len(maps_Chw) else ""
        note += f"; {constant} are the same everywhere" if constant else ""
        heading = f"{layer.name}: {format_shape(layer.values.shape[1:])}{note}"
        rows.append(captioned(grid(tiles, MAPS, margin=4), heading, width=MAPS * (SIDE + 4)))
    note = "After each convolution with normalisation and activation. Dark to bright: lowest to highest of a map."
    return grid([captioned(image, title, note, width=MAPS * (SIDE + 4)), *rows], 1)


def drawn_patches(
    whole: Image, title: str, heading: str, patches: Sequence[Tensor], layers: Sequence[Activation]
) -> Image:
    """Draw a row for each patch or element and a column for each layer, whose values share one scale.

    Args:
        whole: the image that the patches were cut from, or the bag.
        heading: heading of the column of patches.
    """
    columns = [drawn_column(layer, len(patches)) for layer in layers]
    limits = limits_of(torch.stack(list(patches))) if patches[0].ndim == 1 else None
    thumbs = [fitted(drawn_item(patch, PATCH_SIDE, limits), PATCH_SIDE) for patch in patches]
    table = abreast([captioned(grid(thumbs, 1, margin=4), heading, width=56), *columns], margin=20)
    note = "Dark to bright: smallest to largest value of a layer."
    return grid([captioned(whole, title, note, width=max(480, table.width)), table], 1)


def drawn_column(layer: Activation, rows: int) -> Image:
    values = layer.values[:rows]
    if values.ndim == 4:
        chosen_M = most_varied(values, PATCH_MAPS)
        shown_nMhw = scaled(values[:, chosen_M])
        tiles = [fitted(heated(map_hw), PATCH_SIDE) for maps_Mhw in shown_nMhw for map_hw in maps_Mhw]
        column = grid(tiles, len(chosen_M), margin=4)
    else:
        width = values.shape[1] * max(1, BAR // values.shape[1])
        bars = [heated(bar_D[None]).resize((min(width, BAR), PATCH_SIDE), Resampling.BOX) for bar_D in scaled(values)]
        column = grid(bars, 1, margin=4)
    return captioned(column, f"{layer.name}: {format_shape(values.shape[1:])}")


def most_varied(values_nChw: Tensor, count: int) -> list[int]:
    """Return the numbers of the `count` maps of largest standard deviation, in ascending order."""
    spread_C = values_nChw.movedim(1, 0).flatten(1).std(1, correction=0)
    return sorted(spread_C.argsort(descending=True, stable=True)[:count].tolist())
