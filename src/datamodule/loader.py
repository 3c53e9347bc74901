"""What DataLoader reads batches from as a whole, and a DataLoader that resumes in the middle of an epoch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodule.source import Source
from set_module.set_batch import SetBatch

# B items (images or bags), M items of the part, C channels, H height, W width

Batch = tuple[Tensor | SetBatch, Tensor, Tensor]


class Part(Dataset[Batch]):
    """The items of a source at the given positions; a batch is (images_BCHW or bags, labels_B, index_B).

    index_B is the position in the source, whatever part of it this is.
    """

    def __init__(self, source: Source, position_M: Tensor) -> None:
        self.source, self.position_M = source, position_M

    def __len__(self) -> int:
        return len(self.position_M)

    def __getitem__(self, i: int) -> Batch:
        return self.__getitems__([i])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """What DataLoader calls where it is defined: a batch at once."""
        index_B = self.position_M.index_select(0, torch.as_tensor(indices, device=self.position_M.device))
        return self.source.images(index_B), self.source.labels.index_select(0, index_B), index_B


def as_it_is(batch: Any) -> Any:
    """The collate function of batches that are made whole."""
    return batch


class ResumableLoader(DataLoader):
    """A DataLoader that checkpoints carry: they keep the epoch and the batch in it that come next.

    `progress` gives these. Lightning calls state_dict and load_state_dict of loaders that have them, the
    latter before it makes the first iterator, with which workers read ahead, and tells the sampler the epoch
    only then: the epoch must be in the state. The batch sampler must be a ResumableBatches.
    """

    def __init__(self, dataset: Part, progress: Callable[[], tuple[int, int]], **settings: Any) -> None:
        super().__init__(dataset, **settings)
        self.progress = progress

    def state_dict(self) -> dict[str, int]:
        epoch, batch = self.progress()
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        batches: Any = self.batch_sampler
        batches.resumed = state["epoch"], state["batch"]
        batches.sampler.set_epoch(state["epoch"])
