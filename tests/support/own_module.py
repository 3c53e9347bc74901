"""A user's own LightningModule that is no classifier."""

from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn


class MaskedPatches(LightningModule):
    """An autoencoder of half masked 8 x 8 images; accepts the settings of a classifier and ignores them."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.decoder = nn.Linear(64, 64)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images_BP = batch[0].flatten(1) / 255
        masked_BP = images_BP * (torch.arange(64) % 8 < 4)
        return (self.decoder(masked_BP) - images_BP).square().mean()
