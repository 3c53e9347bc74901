"""Figure of the evidence for and against the predicted class, pixel by pixel, in test images."""

from math import ceil, isfinite
from typing import Any

import torch
from PIL.Image import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from figure.picture import WarnOnFailure, captioned, class_name, drawn, grid, has_picture_logger, log_picture, tinted
from set_module.set_network import cuts_images, split_outputs, temporary_patch_num


class Evidence(Callback):
    """Figure of the evidence in `count` images from the whole test set, defined by `PatchNetwork.evidence`.

    Each image is covered with `patches` patches, or fewer if it has fewer places. Networks that do not cut patches out
    of images get no figure. Raises ValueError for numbers below 1.
    """

    needs = ("network", "test_logits")

    def __init__(self, count: int, patches: int) -> None:
        for name, number in (("count", count), ("patches", patches)):
            if number < 1:
                raise ValueError(f"evidence.{name}={number}: choose >= 1, or evidence=null")
        self.count, self.patches = count, patches

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        wanted = has_picture_logger(trainer) and trainer.is_global_zero
        self.missing = self.count if wanted and cuts_images(getattr(pl_module, "network", None)) else 0
        # from batches of the whole set, as class folders are tested class by class
        batches = trainer.num_test_batches[0] if isfinite(trainer.num_test_batches[0]) else 1
        self.each, self.every = ceil(self.count / batches), max(1, int(batches // self.count))
        self.batches: list[tuple[Tensor, Tensor, Tensor]] = []
        self.drawing = WarnOnFailure("picture of the evidence")

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if self.missing and batch_idx % self.every == 0 and isinstance(batch[0], Tensor):
            with self.drawing:
                images_BCHW, labels_B, index_B = (tensor[: min(self.each, self.missing)].clone() for tensor in batch)
                self.batches.append((images_BCHW, labels_B, index_B))
                self.missing -= len(labels_B)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches, self.batches = self.batches, []
        if batches:
            with self.drawing:
                tiles = self._tiles(trainer, pl_module, *(torch.cat(tensors) for tensors in zip(*batches, strict=True)))
                text = "Red: speaks for the predicted class, or has weight. Blue: speaks against it."
                log_picture(trainer, "pictures/evidence", captioned(grid(tiles, columns=2), text))

    def _tiles(
        self, trainer: Trainer, pl_module: LightningModule, images_BCHW: Tensor, labels_B: Tensor, index_B: Tensor
    ) -> list[Image]:
        network: Any = pl_module.network
        with temporary_patch_num(network, self.patches):
            probability_BK = split_outputs(network(images_BCHW, index_B))[0].float().softmax(1)
            probability_B, predicted_B = probability_BK.max(1)
            maps_BHW = network.evidence(images_BCHW, index_B, predicted_B)
        rows = zip(images_BCHW, maps_BHW, labels_B.tolist(), predicted_B.tolist(), probability_B.tolist(), strict=True)
        return [
            captioned(
                grid([drawn(image_CHW), overlaid(image_CHW, map_HW)], columns=2),
                f"{probability:.3f} predicted: {class_name(trainer, predicted)}",
                f"true: {class_name(trainer, label)}",
            )
            for image_CHW, map_HW, label, predicted, probability in rows
        ]


def overlaid(image_CHW: Tensor, map_HW: Tensor) -> Image:
    """Draw a map as `tinted` does; one of positive values only (weights) starts at its smallest value instead of 0."""
    return tinted(image_CHW, map_HW - map_HW.nan_to_num(nan=torch.inf).min().clamp(min=0))
