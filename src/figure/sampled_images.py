"""Base class of the figures of a few images from the whole test set."""

# B images

from abc import ABC, abstractmethod
from math import ceil, isfinite
from typing import Any

import torch
from PIL.Image import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from figure.picture import WarnOnFailure, has_picture_logger, log_picture


class SampledImages(Callback, ABC):
    """Figure of `count` images from the whole test set, drawn at its end on rank 0, of networks that it suits.

    Raises ValueError for a count below 1.
    """

    needs = ("network", "test_logits")
    name: str  # of the picture, and of the setting

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"{self.name}.count={count}: choose >= 1, or {self.name}=null")
        self.count = count

    @abstractmethod
    def suits(self, network: Any) -> bool:
        """Return whether the figure can be drawn of the network."""

    @abstractmethod
    def draw(self, trainer: Trainer, network: Any, images_BCHW: Tensor, labels_B: Tensor, index_B: Tensor) -> Image:
        """Draw the figure."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        wanted = has_picture_logger(trainer) and trainer.is_global_zero
        self.missing = self.count if wanted and self.suits(getattr(pl_module, "network", None)) else 0
        # from batches of the whole set, as class folders are tested class by class
        batches = trainer.num_test_batches[0] if isfinite(trainer.num_test_batches[0]) else 1
        self.each, self.every = ceil(self.count / batches), max(1, int(batches // self.count))
        self.batches: list[tuple[Tensor, Tensor, Tensor]] = []
        self.drawing = WarnOnFailure(f"picture of the {self.name.replace('_', ' ')}")

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
                chosen = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
                log_picture(trainer, f"pictures/{self.name}", self.draw(trainer, pl_module.network, *chosen))
