"""Base class of the figures that show a network with one test image, or one bag of images."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from figure.answers import one_target
from figure.picture import WarnOnFailure, has_picture_logger
from set_module.set_batch import SetBatch
from set_module.set_network import SetNetwork


class ItemFigure(Callback, ABC):
    """Figure of one test item, drawn once per test on rank 0: of the first, or of the one whose index is `index`."""

    needs = ("network",)
    description: str  # "picture of the feature maps"
    index: int | None = None

    @abstractmethod
    def draw(self, trainer: Trainer, network: Any, images: Any, target: Any, index_1: Tensor) -> None:
        """Log the figure of one image [1, C, H, W], or of a SetBatch of one set; `target` is of the item."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.wanted, self.found = has_picture_logger(trainer) and trainer.is_global_zero, False

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if self.wanted and not self.found:
            with WarnOnFailure(self.description):
                images_BCHW, targets, index_B = batch
                matches_B = torch.ones_like(index_B) if self.index is None else index_B == self.index
                for number in matches_B.nonzero()[:1, 0].tolist():
                    self.found = True
                    images = one_item(images_BCHW, number)
                    index_1 = index_B[number : number + 1].clone()
                    self.draw(trainer, pl_module.network, images, one_target(targets, number), index_1)


def one_item(images_BCHW: Any, number: int) -> Any:
    """Return a copy, which does not keep the batch in memory: [1, C, H, W], LazyImages or a SetBatch of one item."""
    return images_BCHW[[number]]


def describe_item(network: Any, images_1CHW: Any, index_1: Tensor) -> str:
    """Return `an image of 1 x 28 x 28, 64 patches of 15 x 15` or `a bag of 9 elements of 1 x 28 x 28`.

    A set of vectors is `a set of 9 vectors of 2`.
    """
    if isinstance(images_1CHW, SetBatch):
        if images_1CHW.values.ndim == 2:
            count, features = images_1CHW.values.shape
            return f"a set of {count} vector{'s' * (count != 1)} of {features}"
        return f"a bag of {len(images_1CHW.values)} elements of {format_shape(images_1CHW.values.shape[1:])}"
    description = f"an image of {format_shape(images_1CHW.shape[1:])}"
    if not isinstance(network, SetNetwork):
        return description
    patches = network.cut(images_1CHW, index_1)[0].values
    return f"{description}, {len(patches)} patch{'es' * (len(patches) != 1)} of {format_shape(patches.shape[2:])}"


def format_shape(shape: Any) -> str:
    return " x ".join(map(str, shape))
