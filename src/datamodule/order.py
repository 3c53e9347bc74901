"""The order of the training images, a function of (seed, epoch): a resumed run needs a position only."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, Sampler

from counter_rng import random_int


class EpochOrder(Sampler[int]):
    """All of range(size) in an order that depends on the seed and on the epoch that was set last.

    Of several ranks each takes its share, all of one size: the first images of the epoch make up for what is missing.
    """

    def __init__(self, size: int, seed: int, epoch: int = 0, rank: int = 0, world_size: int = 1) -> None:
        self.size, self.seed, self.epoch = size, seed, epoch
        self.rank, self.world_size = rank, world_size

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.size // self.world_size)

    def permutation(self) -> Tensor:
        key = int(random_int(2**31 - 1, self.seed, self.epoch, torch.tensor(0)))
        order = torch.randperm(self.size, generator=torch.Generator().manual_seed(key))
        missing = len(self) * self.world_size - self.size
        return torch.cat([order, order[:missing]])[self.rank :: self.world_size]

    def __iter__(self) -> Iterator[int]:
        return iter(self.permutation().tolist())


class ResumableBatches(BatchSampler):
    """torch's BatchSampler, in arrays; its pass over the epoch `resumed[0]` begins with the batch `resumed[1]`."""

    sampler: EpochOrder
    resumed = (0, 0)

    def __iter__(self) -> Iterator[Any]:
        # an array becomes an index tensor in 1 us where a list of 128 takes 10
        array, (epoch, batch) = self.sampler.permutation().numpy(), self.resumed
        for i in range(batch if self.sampler.epoch == epoch else 0, len(self)):
            yield array[i * self.batch_size : (i + 1) * self.batch_size]
