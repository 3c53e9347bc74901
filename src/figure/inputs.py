"""Figure of the first training batch, which shows incorrect labels, channels or augmentation."""

from typing import Any

import torch
from PIL.Image import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from figure.answers import describe_target, one_target
from figure.item_picture import drawn_item, limits_of
from figure.picture import (
    SIDE,
    WarnOnFailure,
    captioned,
    drawn,
    grid,
    has_picture_logger,
    log_picture,
    mosaic,
    outlined,
)
from set_module.lazy_images import LazyImages
from set_module.set_batch import SetBatch
from set_module.set_network import SetNetwork


class Inputs(Callback):
    """Figure of the first `images` augmented images, or `sets` bags, with targets; and of `sets` images with patches.

    Sets of vectors are drawn as points or, with more than three features, as columns of colours.

    A run that is resumed after its first batch does not draw them again. Raises ValueError for numbers below 1.
    """

    def __init__(self, images: int, sets: int) -> None:
        for name, number in (("images", images), ("sets", sets)):
            if number < 1:
                raise ValueError(f"callbacks.inputs.{name}={number}: choose >= 1, or callbacks.inputs=null")
        self.images, self.sets = images, sets

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.fit_loop.total_batch_idx == 0 and has_picture_logger(trainer) and trainer.is_global_zero:
            with WarnOnFailure("picture of the first images"), torch.no_grad():
                self._show(trainer, pl_module, batch)

    def _show(self, trainer: Trainer, pl_module: LightningModule, batch: Any) -> None:
        images_BCHW, targets, index_B = batch
        shown = range(min(len(index_B), max(self.images, self.sets)))
        names = [describe_target(trainer, one_target(targets, number)) for number in shown]
        if isinstance(images_BCHW, SetBatch) and images_BCHW.values.ndim == 2:
            log_picture(trainer, "pictures/inputs", drawn_sets(images_BCHW[: self.sets], names))
            return
        if isinstance(images_BCHW, SetBatch):
            bags = list(images_BCHW[: self.sets])
            log_picture(trainer, "pictures/inputs", rows_of_bags(bags, names[: self.sets]))
            return
        first = images_BCHW[: self.images]
        if isinstance(first, LazyImages):
            first = first.pictures(SIDE)
        tiles = [drawn(image_CHW, SIDE // 2) for image_CHW in first]
        named = [captioned(tile, name) for tile, name in zip(tiles, names[: self.images], strict=True)]
        log_picture(trainer, "pictures/inputs", grid(named, columns=8))
        network: Any = getattr(pl_module, "network", None)
        if isinstance(network, SetNetwork):
            patches, corners = network.cut(images_BCHW[: self.sets], index_B[: self.sets])
            assert corners is not None  # bags were shown above
            sets = enumerate(zip(corners, patches, names, strict=False))
            tiles = [image_and_patches(images_BCHW, number, *each) for number, each in sets]
            log_picture(trainer, "pictures/patches", grid(tiles, columns=2))


def drawn_sets(sets: SetBatch, names: list[str]) -> Image:
    """Draw sets of vectors side by side, between the same limits."""
    limits = limits_of(sets.values)
    tiles = [
        captioned(drawn_item(set_NF, limits=limits), f"{name} ({len(set_NF)} elements)")
        for set_NF, name in zip(sets, names, strict=False)
    ]
    return grid(tiles, columns=4)


def rows_of_bags(bags: list[Tensor], names: list[str]) -> Image:
    """Draw a row for each bag [n, C, H, W], in two lines if it has more than 16 elements."""
    rows = []
    for bag_NCHW, name in zip(bags, names, strict=True):
        elements = [drawn(image_CHW, SIDE // 4) for image_CHW in bag_NCHW[:32]]
        rows.append(captioned(grid(elements, columns=16, margin=2), f"{name} ({len(bag_NCHW)} elements)", width=SIDE))
    return grid(rows, columns=1)


def image_and_patches(images: Any, number: int, corners_N2: Tensor, patches_NCpp: Tensor, name: str) -> Image:
    """Draw an image of the batch with outlines of its patches, and the patches beside it."""
    whole = outlined(images, number, corners_N2, patches_NCpp.shape[-1])
    patches = mosaic(list(patches_NCpp))
    return captioned(grid([whole, patches], columns=2), f"{name} ({len(patches_NCpp)} patches)")
