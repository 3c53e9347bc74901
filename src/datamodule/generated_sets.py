"""Base class of data sets without end: each training step draws new sets, a function of (seed, step)."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodule.data_module import DataModule
from datamodule.loader import (
    Batch,
    EpochOrder,
    Part,
    ResumableBatches,
    SetSource,
    Targets,
    each_target,
    join_targets,
    limited_inputs,
)
from process.errors import UserError
from set_module.counter_rng import FIXED, random_int
from set_module.set_batch import SetBatch

# B sets of a batch, R sets of a step: those of all ranks, M numbers of sets

STREAM = 0x44524157  # added to the seed: draws are independent of other random numbers with the same seed
SEEDS = {"valid": -3, "test": -2}  # differ from all seeds of training, which are >= 0


class GeneratedSets(DataModule):
    """Batches (SetBatch, targets, index_B) of sets that are drawn when they are needed, each once.

    A subclass defines `draw`. An epoch is `steps_per_epoch` steps, which differ from those of all other epochs. Ranks
    share the sets of a step: rank r of W gets every W-th of them. index_B counts the sets of training. Validation and
    test are draws that are always the same, whatever the seed.

        class MaxRegression(GeneratedSets):
            def draw(self, generator, lengths_B, part):
                sets = SetBatch(100 * torch.rand(int(lengths_B.sum()), 1, generator=generator), lengths_B)
                return sets, set_max(sets)[:, 0]

    Args:
        set_size: the smallest and the largest number of elements of a set, between which all are equally likely.
        steps_per_epoch: batches of an epoch of training, after which a validation may come.
        valid_sets: number of sets of the validation; 0 for none. Likewise test_sets.
    """

    def __init__(
        self, *, set_size: Sequence[int], steps_per_epoch: int, valid_sets: int, test_sets: int, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.smallest, self.largest = set_size
        if self.smallest > self.largest:
            raise UserError(f"data.set_size={list(set_size)}: give the smallest number first, then the largest")
        self.steps_per_epoch, self.fixed_sets = steps_per_epoch, {"valid": valid_sets, "test": test_sets}
        for name, given in (("limit_train", self.limit_train), ("fold", self.fold)):
            if given is not None:
                raise UserError(f"data.{name}={given}: these data have no end: data.{name}=null")
        if self.balanced:
            raise UserError("data.balanced=true: these data are drawn anew: data.balanced=false")

    @abstractmethod
    def draw(self, generator: torch.Generator, lengths_B: Tensor, part: str) -> tuple[SetBatch, Targets]:
        """Return sets of the lengths given, and their targets [B, ...], both by random numbers of the generator alone.

        `part` is train, valid or test, for data that are drawn from different items in each of them.
        """

    def table(self, sets: SetBatch, targets: Targets, part: str) -> SetSource:
        """Return drawn sets as a source. A subclass overrides it if `draw` returns only numbers of the elements."""
        return SetSource(sets, targets)

    def load(self, part: str) -> SetSource | None:
        """Return the sets of the validation or test; of the training, those of the first step."""
        if part == "train":
            return self.step(0, self.batch_size)
        return self.fixed(part) if self.fixed_sets[part] else None

    def fixed(self, part: str, size: int | None = None) -> SetSource:
        """Return the sets of the validation or test; `size`: others, that have so many elements each."""
        return self._drawn(part, SEEDS[part], size or 0, self.fixed_sets[part], size)

    def step(self, number: int, count: int) -> SetSource:
        """Return the `count` sets of a training step, those of all ranks."""
        return self._drawn("train", self.seed, number, count)

    def _drawn(self, part: str, seed: int, number: int, count: int, size: int | None = None) -> SetSource:
        key = int(random_int(2**31 - 1, seed + STREAM, FIXED, torch.tensor(number)))
        generator = torch.Generator().manual_seed(key)
        least, most = (self.smallest, self.largest) if size is None else (size, size)
        lengths_B = torch.randint(least, most + 1, (count,), generator=generator)
        return self.table(*self.draw(generator, lengths_B, part), part)

    def position(self, part: str) -> Tensor | None:
        """Return the numbers of the sets of a part; those of training are the sets of the first epoch."""
        count = self.steps_per_epoch * self.batch_size if part == "train" else self.fixed_sets[part]
        return torch.arange(count) if count else None

    def own_index(self, index_B: Tensor) -> Tensor:
        return index_B

    def targets(self, part: str) -> Targets:
        """Return the targets of a part, of training those of the first epoch."""
        if part != "train":
            return super().targets(part)
        found = [self.step(number, self.batch_size).targets for number in range(self.steps_per_epoch)]
        return join_targets(found)

    def summary(self) -> dict[str, int | str | None]:
        """Return the number of sets of an epoch and of the other parts, for the run's record."""
        return {"train": self.steps_per_epoch * self.batch_size, **self.fixed_sets, "split_hash": None}

    def train_dataloader(self) -> DataLoader:
        epoch, rank, world_size = self._epoch_and_ranks()
        sets, order = self._steps(epoch, rank, world_size)
        batches = ResumableBatches(order, self.batch_size, drop_last=False)
        batches.with_epoch = True
        return self._resumable_loader(sets, batches, self._loader_settings(True, torch.device("cpu")))

    def _steps(self, epoch: int, rank: int, world_size: int) -> tuple["Steps", "StepOrder"]:
        count = self.batch_size * world_size
        sets = Steps(lambda number: self.step(number, count), count, self.max_elements, self.seed)
        return sets, StepOrder(self.steps_per_epoch * count, self.seed, epoch, rank, world_size)

    def ordered_dataloader(self, name: str) -> DataLoader:
        """Return the batches of validation or test, each set once; of training, those of the first epoch."""
        if name != "train":
            return super().ordered_dataloader(name)
        sets, order = self._steps(0, 0, 1)
        return DataLoader(sets, self.batch_size, sampler=order, **self._loader_settings(True, torch.device("cpu")))

    def sized_dataloader(self, name: str, n: int) -> DataLoader | None:
        """Return batches of as many sets as validation or test have, but drawn with n elements each."""
        if name not in SEEDS or not self.fixed_sets[name]:
            return None
        return self._ordered(Part(self.fixed(name, n), torch.arange(self.fixed_sets[name])))


class Steps(Dataset[Batch]):
    """Sets by their numbers, of which those of one step, R in all, are drawn at once."""

    def __init__(self, draw: Callable[[int], SetSource], count: int, max_elements: int | None, seed: int) -> None:
        self.draw, self.count, self.max_elements, self.seed = draw, count, max_elements, seed

    def __getitems__(self, indices: Any) -> Batch:
        """Return a batch; all its numbers belong to one step."""
        epoch, numbers = indices if isinstance(indices, tuple) else (0, indices)
        index_B = torch.as_tensor(numbers)
        step = int(index_B[0]) // self.count
        source, own_B = self.draw(step), index_B - step * self.count
        inputs = limited_inputs(source, own_B, self.max_elements, self.seed, epoch, index_B)
        return inputs, each_target(source.targets, lambda target: target.index_select(0, own_B)), index_B


class StepOrder(EpochOrder):
    """The numbers of the sets of an epoch, those that one rank gets: in each step, every W-th from its own on."""

    def permutation(self) -> Tensor:
        return torch.arange(self.rank, self.size, self.world_size) + self.epoch * self.size
