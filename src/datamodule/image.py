"""Base class of all image data sets: it adds augmentation; a subclass loads the images."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from datamodule.augment import CropFlip
from datamodule.data_module import DataModule
from datamodule.loader import Batch
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
        **settings: Any,
    ) -> None:
        augmentation: dict[str, Any] = {"crop_padding": crop_padding, "flip": flip}
        super().__init__(channels=channels, image_size=image_size, seed=seed, **augmentation, **settings)
        self.augment = CropFlip(self.image_size, crop_padding, flip, seed) if self.augmented else None

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if self.augment is None or self.trainer is None or not self.trainer.training:
            return batch
        inputs, targets, index_B = batch
        if self.augment.offsets.device != index_B.device:
            self.augment.to(index_B.device)
        return self.augmentation(inputs, index_B, self.trainer.current_epoch), targets, index_B

    def augmentation(self, inputs: Tensor | SetBatch, index_B: Tensor, epoch: int) -> Tensor | SetBatch:
        assert self.augment is not None
        if isinstance(inputs, Tensor):
            return self.augment(inputs, index_B, epoch)
        index_N = index_B.index_select(0, inputs.index)
        return inputs.with_values(self.augment(inputs.values, index_N, epoch, inputs.numbers()))
