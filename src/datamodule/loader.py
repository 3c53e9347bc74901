"""From images to batches: sources, split, order of an epoch, and a DataLoader that resumes within an epoch.

An item is an image or a set; a batch of sets is a SetBatch. Split and order are functions of settings and seeds, so a
checkpoint holds only the position of a run.
"""

import hashlib
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from datamodule.mixing import Mixing
from datamodule.subsample import subsample
from process.errors import UserError
from set_module.counter_rng import FIXED, random_int
from set_module.lazy_images import LazyImages
from set_module.set_batch import SetBatch

# N items of the source or elements of all sets, B items of a batch, M items of a part or members of all bags
# C channels, H W, *F shape of one element

Targets = Tensor | dict[str, Tensor]  # [B, ...], or those of several tasks by the tasks' names
Batch = tuple[Any, Targets, Tensor]  # the inputs are a Tensor, a SetBatch or LazyImages


class Source(Protocol):
    """Interface of inputs and targets by position."""

    @property
    def targets(self) -> Targets:
        """Return the targets, one per item."""
        ...

    def __len__(self) -> int: ...

    def inputs(self, index_B: Tensor) -> Tensor | SetBatch | LazyImages:
        """Return uint8 images [B, C, H, W] or of any size, or B sets of images or float vectors."""
        ...


@dataclass(frozen=True)
class Limit:
    """The elements that are seen of larger sets: `max_elements` of each, a function of (seed, epoch, index)."""

    max_elements: int
    seed: int
    epoch: int
    index: Tensor  # [B]

    def __call__(self, sets: SetBatch) -> SetBatch:
        return subsample(sets, self.max_elements, self.seed, self.epoch, self.index)


@runtime_checkable
class SizedSource(Source, Protocol):
    """Source of sets that knows their sizes, and reads only the elements that are seen of larger ones."""

    @property
    def lengths(self) -> Tensor:
        """Return the number of elements of each set."""
        ...

    def limited(self, index_B: Tensor, limit: Limit) -> SetBatch:
        """Return B sets as `inputs` does, and of the larger ones the elements that the limit leaves."""
        ...


class MemorySource:
    """Source of uint8 images [N, C, H, W] in one tensor: a batch is one index_select."""

    def __init__(self, images_NCHW: Tensor, targets: Targets) -> None:
        self.images_NCHW, self.targets = images_NCHW, targets
        if len(images_NCHW) != len(self):
            raise UserError(f"{len(images_NCHW)} images and {len(self)} targets: each image needs one target")

    def __len__(self) -> int:
        return count_items(self.targets)

    def inputs(self, index_B: Tensor) -> Tensor | SetBatch:
        return self.images_NCHW.index_select(0, index_B)

    def to(self, device: torch.device) -> "MemorySource":
        return MemorySource(self.images_NCHW.to(device), each_target(self.targets, lambda t: t.to(device)))

    @property
    def elements(self) -> Tensor:
        """The tensor [N, *F] that takes nearly all memory."""
        return self.images_NCHW

    @property
    def device(self) -> torch.device:
        return self.elements.device


class SetSource(MemorySource):
    """Source of sets in memory; `members` holds their elements, float32 vectors [N, F] or uint8 images [N, C, p, p]."""

    def __init__(self, members: SetBatch, targets: Targets) -> None:
        self.members, self.targets = members, targets
        if len(members) != len(self):
            raise UserError(f"{len(members)} sets and {len(self)} targets: each set needs one target")

    def inputs(self, index_B: Tensor) -> SetBatch:
        return self.shown(self.members[index_B])

    def limited(self, index_B: Tensor, limit: Limit) -> SetBatch:
        return self.shown(limit(self.members[index_B]))  # before the images of a bag are read

    def at(self, places: SetBatch, limit: Limit | None = None) -> SetBatch:
        """Return sets of other elements, given by their places [N] among those of all sets."""
        places = places if limit is None else limit(places)
        return self.shown(places.map(lambda place_N: self.members.values.index_select(0, place_N)))

    def shown(self, members: SetBatch) -> SetBatch:
        """Return what a network sees of members: themselves."""
        return members

    @property
    def lengths(self) -> Tensor:
        return self.members.lengths

    def to(self, device: torch.device) -> "SetSource":
        return SetSource(self.members.to(device), each_target(self.targets, lambda t: t.to(device)))

    @property
    def elements(self) -> Tensor:
        return self.members.values


class BagSource(SetSource):
    """Source of bags of uint8 images [N, C, H, W]; `members`, a SetBatch of int64 [M], holds the images of each bag.

    A batch is a SetBatch. Bags may share images, and an image may be in no bag; a target belongs to a bag.
    """

    def __init__(self, images_NCHW: Tensor, members: SetBatch, targets: Targets) -> None:
        super().__init__(members, targets)
        self.images_NCHW = images_NCHW

    def shown(self, members: SetBatch) -> SetBatch:
        return members.map(lambda member_M: self.images_NCHW.index_select(0, member_M))

    def to(self, device: torch.device) -> "BagSource":
        targets = each_target(self.targets, lambda t: t.to(device))
        return BagSource(self.images_NCHW.to(device), self.members.to(device), targets)

    @property
    def elements(self) -> Tensor:
        return self.images_NCHW


def each_target(targets: Targets, function: Callable[[Tensor], Tensor]) -> Targets:
    """Return f(targets), for each task's targets if there are several tasks."""
    if isinstance(targets, Tensor):
        return function(targets)
    return {name: function(target) for name, target in targets.items()}


def join_targets(parts: Sequence[Targets]) -> Targets:
    """Return the targets of one part after the other."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat([part for part in parts if isinstance(part, Tensor)])
    return {name: torch.cat([part[name] for part in parts if not isinstance(part, Tensor)]) for name in first}


def count_items(targets: Targets) -> int:
    """Return the number of items that targets belong to."""
    return len(targets if isinstance(targets, Tensor) else next(iter(targets.values())))


def has_room(source: MemorySource, device: torch.device) -> bool:
    """Return whether the elements take less than a quarter of a GPU's free memory."""
    return device.type == "cuda" and 4 * source.elements.nbytes < torch.cuda.mem_get_info(device)[0]


def split(
    num_items: int, valid: float, fold: int | None, num_folds: int, seed: int, limit_train: int | None
) -> tuple[Tensor, Tensor]:
    """Return the sorted positions of the training and of the validation images, which are disjoint.

    Args:
        valid: a ratio (0 < valid < 1) of the images, at least one; a number of images; or 0 for none.
        fold: which of `num_folds` equal parts is used for validation, in place of `valid`; None for no folds.
        limit_train: number of training images that are kept, None for all; validation images stay the same.
    """
    order = torch.randperm(num_items, generator=torch.Generator().manual_seed(seed))
    if fold is not None:
        parts = list(order.tensor_split(num_folds))
        valid_part = parts.pop(fold)
        train_part = torch.cat(parts)
        setting = f"data.num_folds={num_folds}"
    else:
        count = max(1, round(valid * num_items)) if 0 < valid < 1 else int(valid)
        valid_part, train_part = order[:count], order[count:]
        setting = f"data.valid={valid}"
    if len(train_part) == 0:
        raise UserError(f"{setting} leaves none of the {num_items} items for training: choose less")
    if len(valid_part) == 0 and fold is not None:
        raise UserError(f"{setting} leaves none of the {num_items} items for validation: choose fewer folds")
    if limit_train is not None:
        if not 1 <= limit_train <= len(train_part):
            raise UserError(f"data.limit_train={limit_train}: choose 1 to {len(train_part)}, or null for all")
        train_part = train_part[:limit_train]
    return train_part.sort().values, valid_part.sort().values


def split_hash(valid_position: Tensor) -> str:
    """Return 16 hex digits that are equal for runs that validate on the same images."""
    positions = ",".join(map(str, valid_position.sort().values.tolist()))
    return hashlib.sha256(positions.encode()).hexdigest()[:16]


class Part(Dataset[Batch]):
    """Items of a source at the given positions; a batch is (images_BCHW or sets, targets, index_B).

    index_B holds positions in the source, not in the part. If `repeats`, the number i + r M stands for the r-th
    repetition of item i in an epoch: index_B is then greater by r N, so that its patches and its crop are drawn anew.
    A set of more than `max_elements` gets so many of its elements, a function of (seed, epoch, index_B); the epoch
    comes with the numbers of the items, without which the elements are always the same. With `mixing`, bags are drawn
    anew in each epoch.
    """

    mixing: Mixing | None = None  # of a SetSource

    def __init__(
        self,
        source: Source,
        position_M: Tensor,
        repeats: bool = False,
        max_elements: int | None = None,
        seed: int = 0,
    ) -> None:
        self.source, self.position_M, self.repeats = source, position_M, repeats
        self.max_elements, self.seed = max_elements, seed

    @property
    def needs_epoch(self) -> bool:
        """Return whether the inputs of a training batch depend on the epoch."""
        return self.max_elements is not None or self.mixing is not None

    def __len__(self) -> int:
        return len(self.position_M)

    def __getitem__(self, i: int) -> Batch:
        return self.__getitems__([i])

    def __getitems__(self, indices: Sequence[int] | tuple[int, Any]) -> Batch:
        """Return a whole batch: DataLoader calls this instead of one __getitem__ for each item."""
        epoch, numbers = indices if isinstance(indices, tuple) else (FIXED, indices)
        number_B = torch.as_tensor(numbers, device=self.position_M.device)
        own_B = index_B = self.position_M.index_select(0, number_B % len(self) if self.repeats else number_B)
        if self.repeats:
            index_B = own_B + number_B // len(self) * len(self.source)
        targets = each_target(self.source.targets, lambda target: target.index_select(0, own_B))
        if self.mixing is None:
            return limited_inputs(self.source, own_B, self.max_elements, self.seed, epoch, index_B), targets, index_B
        assert isinstance(self.source, SetSource)
        limit = None if self.max_elements is None else Limit(self.max_elements, self.seed, epoch, index_B)
        return self.source.at(self.mixing.places(own_B, epoch, index_B), limit), targets, index_B


def limited_inputs(
    source: Source, own_B: Tensor, max_elements: int | None, seed: int, epoch: int, index_B: Tensor
) -> Tensor | SetBatch | LazyImages:
    """Return the inputs at the positions own_B; of a larger set max_elements, which (seed, epoch, index_B) choose."""
    if max_elements is None:
        return source.inputs(own_B)
    limit = Limit(max_elements, seed, epoch, index_B)
    if isinstance(source, SizedSource):
        return source.limited(own_B, limit)
    inputs = source.inputs(own_B)
    return limit(inputs) if isinstance(inputs, SetBatch) else inputs


class EpochOrder(Sampler[int]):
    """Order of range(size) that depends on the seed and on the epoch that was set last.

    With `labels_M`, all classes get an equal number of the places, see `balance`. Each rank takes an equal share; the
    first images of the epoch are repeated to fill the last shares.
    """

    def __init__(
        self, size: int, seed: int, epoch: int = 0, rank: int = 0, world_size: int = 1, labels_M: Tensor | None = None
    ) -> None:
        self.size, self.seed, self.epoch, self.labels_M = size, seed, epoch, labels_M
        self.rank, self.world_size = rank, world_size

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.size // self.world_size)

    def permutation(self) -> Tensor:
        key = int(random_int(2**31 - 1, self.seed, self.epoch, torch.tensor(0)))
        generator = torch.Generator().manual_seed(key)
        order = torch.randperm(self.size, generator=generator)
        if self.labels_M is not None:
            order = balance(order, self.labels_M, generator)
        missing = len(self) * self.world_size - self.size
        return torch.cat([order, order[:missing]])[self.rank :: self.world_size]

    def __iter__(self) -> Iterator[int]:
        return iter(self.permutation().tolist())


def balance(order_M: Tensor, labels_M: Tensor, generator: torch.Generator) -> Tensor:
    """Return M numbers of items in random order, as many of each class as of any other, give or take one.

    A class with more items than places gets those that come first in `order_M`. One with fewer repeats its items, all
    equally often, give or take one; i + r M is the r-th repetition of item i (see Part). A class without items gets no
    place.
    """
    size = len(order_M)
    sorted_M = order_M[labels_M[order_M].argsort(stable=True)]  # class by class
    _, count_K = labels_M.unique(return_counts=True)
    share_K = torch.full_like(count_K, size // len(count_K))
    share_K[torch.randperm(len(count_K), generator=generator)[: size % len(count_K)]] += 1
    class_M = torch.arange(len(count_K)).repeat_interleave(share_K)
    place_M = torch.arange(size) - (share_K.cumsum(0) - share_K)[class_M]  # 0, 1, ... in each class
    count_M, first_M = count_K[class_M], (count_K.cumsum(0) - count_K)[class_M]
    number_M = sorted_M[first_M + place_M % count_M] + place_M // count_M * size
    return number_M[torch.randperm(size, generator=generator)]


class ResumableBatches(BatchSampler):
    """BatchSampler of torch that yields arrays; in the epoch `resumed[0]` it begins with the batch `resumed[1]`.

    For images on a GPU, `device`, it yields tensors there: to copy an array would wait for the step before it. If
    `with_epoch`, it yields the epoch too, which a worker process does not know.
    """

    sampler: EpochOrder
    resumed = (0, 0)
    with_epoch = False
    device = torch.device("cpu")

    def __iter__(self) -> Iterator[Any]:
        order, (epoch, batch) = self.sampler.permutation(), self.resumed
        # an array becomes an index tensor in 1 us where a list of 128 takes 10
        array: Any = order.numpy() if self.device.type == "cpu" else order.to(self.device)
        for i in range(batch if self.sampler.epoch == epoch else 0, len(self)):
            numbers = array[i * self.batch_size : (i + 1) * self.batch_size]
            yield (self.sampler.epoch, numbers) if self.with_epoch else numbers


def start_method(workers: int) -> str | None:
    """Return how a DataLoader starts its workers: on Linux by a fork, as Python itself did before 3.14.

    Its present default has each worker import torch anew, which takes seconds.
    """
    return "fork" if workers and sys.platform == "linux" else None


class ReadAheadLoader(DataLoader):
    """DataLoader that, without workers, reads `ahead` batches in threads while earlier ones are used.

    Threads need neither shared memory nor a copy, so they suit files that are read and not decoded.
    """

    ahead = 0

    def __iter__(self) -> Any:
        return self._read_ahead() if self.ahead and not self.num_workers else super().__iter__()

    def _read_ahead(self) -> Iterator[Batch]:
        dataset: Any = self.dataset
        batches: Any = self.batch_sampler
        waiting: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(self.ahead)
        try:
            for numbers in batches:
                waiting.append(pool.submit(dataset.__getitems__, numbers))
                if len(waiting) > self.ahead:
                    yield self._pinned(waiting.popleft().result())
            while waiting:
                yield self._pinned(waiting.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)

    def _pinned(self, batch: Batch) -> Batch:
        if not self.pin_memory:
            return batch
        inputs, targets, index_B = batch
        return inputs.pin_memory(), each_target(targets, Tensor.pin_memory), index_B.pin_memory()


class ResumableLoader(ReadAheadLoader):
    """DataLoader whose position is saved in checkpoints: the epoch and the batch in it that come next.

    `progress` returns both. The batch sampler must be a ResumableBatches. Lightning calls state_dict and
    load_state_dict. It calls load_state_dict before it makes the first iterator, from which workers read ahead, and
    sets the sampler's epoch only afterwards: so the state holds the epoch too.
    """

    def __init__(self, dataset: Dataset[Batch], progress: Callable[[], tuple[int, int]], **settings: Any) -> None:
        super().__init__(dataset, **settings)
        self.progress = progress

    def state_dict(self) -> dict[str, int]:
        epoch, batch = self.progress()
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        batches: Any = self.batch_sampler
        batches.resumed = state["epoch"], state["batch"]
        batches.sampler.set_epoch(state["epoch"])


def identity_collate(batch: Any) -> Any:
    """Return the batch unchanged, as the __getitems__ of our datasets returns whole batches."""
    return batch
