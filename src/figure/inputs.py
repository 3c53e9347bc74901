"""What the network is given, before it learns from it: wrong labels, channels or augmentation are seen here first."""

from typing import Any

import torch
from PIL.Image import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from figure.picture import SIDE, boxed, captioned, drawn, framed, grid, mosaic
from figure.show import Tolerated, class_name, is_wanted, show
from set_module.set_network import SetNetwork


class Inputs(Callback):
    """Of the first batch of a run, augmented: `images` images, or `sets` bags of them, with their labels.

    Of patch networks also `sets` images with the patches that were cut out of them. A run that is resumed after its
    first batch does not show them again. Raises ValueError for numbers below 1.
    """

    def __init__(self, images: int, sets: int) -> None:
        for name, number in (("images", images), ("sets", sets)):
            if number < 1:
                raise ValueError(f"callbacks.inputs.{name}={number}: choose >= 1, or callbacks.inputs=null")
        self.images, self.sets = images, sets

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.fit_loop.total_batch_idx == 0 and is_wanted(trainer) and trainer.is_global_zero:
            with Tolerated("picture of the first images"), torch.no_grad():
                self._show(trainer, pl_module, batch)

    def _show(self, trainer: Trainer, pl_module: LightningModule, batch: Any) -> None:
        images_BCHW, labels_B, index_B = batch
        names = [class_name(trainer, label) for label in labels_B[: max(self.images, self.sets)].tolist()]
        if not isinstance(images_BCHW, Tensor):
            bags = images_BCHW.to_list()[: self.sets]
            show(trainer, "pictures/inputs", rows_of_bags(bags, names[: self.sets]))
            return
        tiles = [drawn(image_CHW, SIDE // 2) for image_CHW in images_BCHW[: self.images]]
        named = [captioned(tile, name) for tile, name in zip(tiles, names[: self.images], strict=True)]
        show(trainer, "pictures/inputs", framed(grid(named, columns=8)))
        network: Any = getattr(pl_module, "network", None)
        if isinstance(network, SetNetwork):
            patches, corners = network.cut(images_BCHW[: self.sets], index_B[: self.sets])
            assert corners is not None  # bags were shown above
            sets = list(zip(images_BCHW, corners.to_list(), patches.to_list(), names, strict=False))
            show(trainer, "pictures/patches", framed(grid([beside(*each) for each in sets], columns=2)))


def rows_of_bags(bags: list[Tensor], names: list[str]) -> Image:
    """A row for each bag [n, C, H, W], of two lines where it has many elements."""
    rows = []
    for bag_NCHW, name in zip(bags, names, strict=True):
        elements = [drawn(image_CHW, SIDE // 4) for image_CHW in bag_NCHW[:32]]
        rows.append(captioned(grid(elements, columns=16, margin=2), f"{name} ({len(bag_NCHW)} elements)", width=SIDE))
    return framed(grid(rows, columns=1))


def beside(image_CHW: Tensor, corners_N2: Tensor, patches_NCpp: Tensor, name: str) -> Image:
    """The image with outlines of its patches, and these."""
    outlined = boxed(image_CHW, corners_N2, patches_NCpp.shape[-1])
    patches = mosaic(list(patches_NCpp))
    return captioned(grid([outlined, patches], columns=2), f"{name} ({len(patches_NCpp)} patches)")
