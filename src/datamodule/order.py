"""The order of the training images, a function of (seed, epoch): a resumed run needs a position only."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, Sampler

from counter_rng import random_int


class EpochOrder(Sampler[int]):
    """All of range(size) in an order that depends on the seed and on the epoch that was set last."""

    def __init__(self, size: int, seed: int, epoch: int = 0) -> None:
        self.size, self.seed, self.epoch = size, seed, epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def permutation(self) -> Tensor:
        key = int(random_int(2**31 - 1, self.seed, self.epoch, torch.tensor(0)))
        return torch.randperm(self.size, generator=torch.Generator().manual_seed(key))

    def __iter__(self) -> Iterator[int]:
        return iter(self.permutation().tolist())


class ResumableBatches(BatchSampler):
    """torch's BatchSampler, in arrays; its next pass, and only that, leaves out `start` batches."""

    start = 0

    def __iter__(self) -> Iterator[Any]:
        first, self.start = self.start, 0  # here, not at the first batch: a pass may end before it
        return self._batches(first)

    def _batches(self, first: int) -> Iterator[Any]:
        # an array becomes an index tensor in 1 us where a list of 128 takes 10
        order = self.sampler.permutation() if isinstance(self.sampler, EpochOrder) else torch.tensor([*self.sampler])
        array = order.numpy()
        for i in range(first, len(self)):
            yield array[i * self.batch_size : (i + 1) * self.batch_size]
