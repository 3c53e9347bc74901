"""Base class of all image data sets: it adds augmentation; a subclass loads the images."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from datamodule.augment import CropFlip
from datamodule.data_module import DataModule
from datamodule.loader import Batch
from datamodule.warp import Warp
from set_module.set_batch import SetBatch


class ImageDataModule(DataModule):
    """Batches (images_BCHW uint8, targets, index_B int64) of images of one size, which training may augment.

    With a BagSource, the inputs are a SetBatch of images. The augmentation of a training image is a function of
    (seed, epoch, index_B), that of an image of a set also of its number in the set. A subclass defines `load(part)`,
    and `class_names` for classes: see DataModule.
    """

    channels: int
    image_size: tuple[int, int]

    def __init__(
        self,
        *,
        channels: int,
        image_size: Sequence[int],
        seed: int,
        crop_padding: int,
        flip: bool,
        warp: float = 0.0,  # runs of older versions lack it
        **settings: Any,
    ) -> None:
        augmentation: dict[str, Any] = {"crop_padding": crop_padding, "flip": flip, "warp": warp}
        super().__init__(channels=channels, image_size=image_size, seed=seed, **augmentation, **settings)
        self.augment = CropFlip(self.image_size, crop_padding, flip, seed) if crop_padding > 0 or flip else None
        self.warp = Warp(warp, seed) if warp > 0 else None

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if not self.augmented or self.trainer is None or not self.trainer.training:
            return batch
        inputs, targets, index_B = batch
        return self.augmentation(inputs, index_B, self.trainer.current_epoch), targets, index_B

    def augmentation(self, inputs: Tensor | SetBatch, index_B: Tensor, epoch: int) -> Tensor | SetBatch:
        if isinstance(inputs, Tensor):
            return self._augmented(inputs, index_B, epoch, 0)
        index_N = index_B.index_select(0, inputs.index)
        return inputs.with_values(self._augmented(inputs.values, index_N, epoch, inputs.numbers()))

    def _augmented(self, images_BCHW: Tensor, index_B: Tensor, epoch: int, number_B: Tensor | int) -> Tensor:
        if self.augment is not None:
            if self.augment.offsets.device != index_B.device:
                self.augment.to(index_B.device)
            images_BCHW = self.augment(images_BCHW, index_B, epoch, number_B)
        return images_BCHW if self.warp is None else self.warp(images_BCHW, index_B, epoch, number_B)
