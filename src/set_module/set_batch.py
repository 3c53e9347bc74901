"""One batch of sets of different sizes, packed: what every set module takes and returns.

Packing needs no padding, so that no work is done for, and nothing can leak from, elements that do not exist.
"""

# B sets, N elements in all, *F shape of one element

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(init=False, eq=False)
class SetBatch:
    """B non-empty sets end to end: values[N, *F], lengths[B], index[N] (the set of each element), max_len.

    `SetBatch(values, lengths)` computes index and max_len and checks lengths, which waits for the device;
    whoever knows all four uses `SetBatch.trusted`. Not frozen: Lightning moves batches from device to device.
    Raises ValueError if a set is empty or the lengths do not add up to N.
    """

    values: Tensor
    lengths: Tensor
    index: Tensor
    max_len: int

    def __init__(self, values: Tensor, lengths: Tensor) -> None:
        if lengths.ndim != 1 or lengths.dtype != torch.int64 or len(lengths) == 0:
            raise ValueError(
                f"lengths must be a non-empty int64 vector, one entry per set, not {lengths.dtype} of shape "
                f"{list(lengths.shape)}: use torch.tensor([3, 1, 2])"
            )
        shortest, longest, total = torch.stack([lengths.min(), lengths.max(), lengths.sum()]).tolist()
        if shortest < 1:
            empty = int((lengths < 1).nonzero()[0])
            raise ValueError(f"set {empty} is empty: leave it out, a set has at least one element")
        if total != len(values):
            raise ValueError(f"lengths add up to {total} but there are {len(values)} elements: give every length")
        sets = torch.arange(len(lengths), device=lengths.device)
        self.values, self.lengths, self.max_len = values, lengths, longest
        self.index = sets.repeat_interleave(lengths, output_size=total)

    @classmethod
    def trusted(cls, values: Tensor, lengths: Tensor, index: Tensor, max_len: int) -> "SetBatch":
        """The same without a check, and so without waiting for the device: the caller guarantees all four."""
        batch = cls.__new__(cls)
        batch.values, batch.lengths, batch.index, batch.max_len = values, lengths, index, max_len
        return batch

    @classmethod
    def from_list(cls, sets: Sequence[Tensor]) -> "SetBatch":
        """Pack a list of tensors [n_i, *F]."""
        if not sets:
            raise ValueError("no set was given: a SetBatch has at least one")
        return cls(torch.cat(list(sets)), torch.tensor([len(s) for s in sets], device=sets[0].device))

    def to_list(self) -> list[Tensor]:
        """The B sets as views [n_i, *F]."""
        return list(self.values.split(self.lengths.tolist()))

    def __len__(self) -> int:
        return len(self.lengths)

    def with_values(self, values: Tensor) -> "SetBatch":
        """The same sets of other elements [N, *G]: what a module that acts on each element returns."""
        if len(values) != len(self.index):
            raise ValueError(f"{len(values)} values for {len(self.index)} elements: give one value per element")
        return SetBatch.trusted(values, self.lengths, self.index, self.max_len)

    def to(self, device: torch.device | str | int, non_blocking: bool = False) -> "SetBatch":
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "SetBatch":
        return self._each(Tensor.pin_memory)

    def _each(self, function: Callable[[Tensor], Tensor]) -> "SetBatch":
        return SetBatch.trusted(function(self.values), function(self.lengths), function(self.index), self.max_len)
