"""Base class of the figures that show counts over the test set of all ranks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from figure.picture import WarnOnFailure, class_name, has_picture_logger, log_picture
from process.ranks import gather_from_ranks

# K classes or labels, the last dimension of the counts


class SummedCounts(Callback, ABC):
    """Picture `pictures/NAME` of counts [.., K], which are added over the batches of a test and over the ranks."""

    name: str  # of the picture
    description: str  # "table of the labels"

    @abstractmethod
    def count(self, outputs_BK: Tensor, targets: Tensor) -> Tensor | None:
        """Return the counts of a batch; None if they are too many to be drawn."""

    @abstractmethod
    def draw(self, counts: Tensor, names: Sequence[str]) -> Image:
        """Return the picture; `names` are those of the classes or labels."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.wanted = has_picture_logger(trainer)
        self.counts: Tensor | None = None
        self.drawing = WarnOnFailure(self.description)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        if self.wanted:
            with self.drawing:
                counts = self.count(outputs, batch[1])
                if counts is not None:
                    self.counts = counts if self.counts is None else self.counts + counts

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.wanted:
            return
        own = [] if self.counts is None else [self.counts.cpu()]
        every = gather_from_ranks(None if self.drawing.failed else own, trainer.world_size)
        self.counts = None
        if trainer.is_global_zero and None not in every and any(every):
            with self.drawing:
                counts = torch.stack([counts for counts_of_rank in every for counts in counts_of_rank]).sum(0)
                names = [class_name(trainer, number) for number in range(counts.shape[-1])]
                log_picture(trainer, f"pictures/{self.name}", self.draw(counts, names))
