"""The packed batch of sets of different sizes that every set module takes and returns.

Without padding, no time is spent on padded elements, and their values cannot affect a result.
"""

# B sets, N elements in all, S slots of a padded set, *F shape of one element

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


@dataclass(init=False, eq=False)
class SetBatch:
    """B non-empty sets end to end: values[N, *F], lengths[B], index[N] (the set of each element), max_len.

    `SetBatch(values, lengths)` computes index and max_len and checks lengths, which waits for a GPU;
    `SetBatch.trusted` takes all four. `sets[3]` is the tensor [n, *F] of one set; a slice, a mask or numbers give a
    SetBatch; iteration yields one tensor per set. Not frozen, as Lightning moves batches from device to device.
    torch.export and torch.compile take it as an argument. Lightning cannot tell how many sets it has: in your own
    module write self.log(..., batch_size=len(sets)). Raises ValueError if a set is empty, if no set is left, or if the
    lengths do not add up to N.
    """

    values: Tensor
    lengths: Tensor
    index: Tensor
    max_len: int

    def __init__(self, values: Tensor, lengths: Tensor | Sequence[int]) -> None:
        lengths = torch.as_tensor(lengths, device=values.device)
        if lengths.ndim != 1 or lengths.dtype != torch.int64 or len(lengths) == 0:
            raise ValueError(
                f"lengths must be a non-empty int64 vector, one entry per set, not {lengths.dtype} of shape "
                f"{list(lengths.shape)}: use [3, 1, 2]"
            )
        shortest, longest, total = torch.stack([lengths.min(), lengths.max(), lengths.sum()]).tolist()
        if shortest < 1:
            raise _empty(lengths)
        if total != len(values):
            raise ValueError(f"lengths add up to {total} but there are {len(values)} elements: give every length")
        sets = torch.arange(len(lengths), device=lengths.device)
        self.values, self.lengths, self.max_len = values, lengths, longest
        self.index = sets.repeat_interleave(lengths, output_size=total)

    @classmethod
    def trusted(cls, values: Tensor, lengths: Tensor, index: Tensor, max_len: int) -> "SetBatch":
        """Make a SetBatch without a check, and so without waiting for a GPU: the caller guarantees all four."""
        batch = cls.__new__(cls)
        batch.values, batch.lengths, batch.index, batch.max_len = values, lengths, index, max_len
        return batch

    @classmethod
    def from_list(cls, sets: Iterable[Tensor]) -> "SetBatch":
        """Pack tensors [n_i, *F]."""
        sets = list(sets)
        if not sets:
            raise ValueError("no set was given: a SetBatch has at least one")
        return cls(torch.cat(sets), [len(s) for s in sets])

    @classmethod
    def from_padded(cls, x_BSF: Tensor, mask_BS: Tensor) -> "SetBatch":
        """Pack the elements where the mask is true; values elsewhere, NaN included, have no effect.

        Traced by torch.export, it checks nothing, and max_len is S, as the number of elements depends on the data.
        """
        if mask_BS.dtype != torch.bool or x_BSF.shape[:2] != mask_BS.shape:
            raise ValueError(
                f"mask is {mask_BS.dtype} of shape {list(mask_BS.shape)}: give a bool for each of the "
                f"{list(x_BSF.shape[:2])} slots, true where there is an element"
            )
        if mask_BS.shape[0] == 0:
            raise ValueError("no set was given: a SetBatch has at least one")
        lengths_B, max_len = mask_BS.sum(1), mask_BS.shape[1]
        if not torch.compiler.is_compiling():
            shortest, max_len = torch.stack([lengths_B.min(), lengths_B.max()]).tolist()
            if shortest < 1:
                raise _empty(lengths_B)
        slot_N = mask_BS.flatten().nonzero()[:, 0]
        torch._check(slot_N.shape[0] > 0)  # lets torch.export assume that there is an element
        index_N = slot_N.div(mask_BS.shape[1], rounding_mode="floor")
        return cls.trusted(x_BSF.flatten(0, 1).index_select(0, slot_N), lengths_B, index_N, max_len)

    def pad(self, fill: float = 0) -> tuple[Tensor, Tensor]:
        """Return (x[B, max_len, *F], mask[B, max_len]), the mask true where there is an element, x = fill elsewhere."""
        slot_N, slots = self.slots(), len(self) * self.max_len
        x = self.values.new_full((slots, *self.values.shape[1:]), fill).index_copy(0, slot_N, self.values)
        mask = torch.zeros(slots, dtype=torch.bool, device=slot_N.device).index_fill(0, slot_N, True)
        return x.unflatten(0, (len(self), self.max_len)), mask.view(len(self), self.max_len)

    def slots(self) -> Tensor:
        """Return the slot of each element in the flattened padded batch, int64 [N]: index * max_len + its number."""
        return self.index * self.max_len + self.numbers()

    def numbers(self) -> Tensor:
        """Return the number of each element in its set, 0, 1, ..., int64 [N]."""
        first_B = self.lengths.cumsum(0) - self.lengths
        return torch.arange(self.index.shape[0], device=self.index.device) - first_B.index_select(0, self.index)

    def is_regular(self) -> bool:
        """Return whether all sets have one size; false in a traced graph, which serves all sizes."""
        return not torch.compiler.is_compiling() and self.values.shape[0] == self.lengths.shape[0] * self.max_len

    def __len__(self) -> int:
        return self.lengths.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        """Yield each set as a view [n_i, *F]. Waits for a GPU."""
        return iter(self.values.split(self.lengths.tolist()))

    @overload
    def __getitem__(self, key: int) -> Tensor: ...

    @overload
    def __getitem__(self, key: slice | list[int] | range | Tensor) -> "SetBatch": ...

    def __getitem__(self, key: int | slice | list[int] | range | Tensor) -> "Tensor | SetBatch":
        """Return one set as a view [n, *F], or a copy of the chosen sets, in the order of `key`. Waits for a GPU.

        The rules are those of a tensor [B]: negative numbers count from the end, IndexError for a number out of range.
        """
        if isinstance(key, range):  # which a tensor reads as numbers of several dimensions, with a warning
            key = list(key)
        number_S = torch.arange(len(self), device=self.lengths.device)[key]
        if number_S.ndim > 1:
            raise IndexError(
                "a SetBatch has one dimension, its sets: give a number, a slice, a mask or a list of numbers"
            )
        first_B = self.lengths.cumsum(0) - self.lengths
        if number_S.ndim == 0:
            first, length = torch.stack([first_B[number_S], self.lengths[number_S]]).tolist()
            return self.values[first : first + length]
        if number_S.numel() == 0:
            raise ValueError("no set was chosen: a SetBatch has at least one")
        lengths_S = self.lengths[number_S]
        chosen = SetBatch(first_B[number_S].repeat_interleave(lengths_S), lengths_S)
        return chosen.with_values(self.values.index_select(0, chosen.values + chosen.numbers()))

    def __repr__(self) -> str:
        shape, dtype, device = list(self.values.shape), self.values.dtype, self.values.device
        return f"SetBatch({len(self)} sets of at most {self.max_len} elements, values {shape}, {dtype}, {device})"

    def with_values(self, values: Tensor) -> "SetBatch":
        """Return the same sets with other elements [N, *G]."""
        if values.shape[0] != self.index.shape[0]:  # not len, which would fix the number in a traced graph
            raise ValueError(f"{len(values)} values for {len(self.index)} elements: give one value per element")
        return SetBatch.trusted(values, self.lengths, self.index, self.max_len)

    def map(self, function: Callable[[Tensor], Tensor]) -> "SetBatch":
        """Return {f(x_i)}, with f called once on all elements [N, *F]."""
        return self.with_values(function(self.values))

    def shuffle(self, generator: torch.Generator | None = None) -> "SetBatch":
        """Return the same sets with the elements of each in a random order."""
        return self.with_values(self.values.index_select(0, self._random_order(generator)))

    def prefix(self, n: int) -> "SetBatch":
        """Return the first n elements of each set; all of a smaller set. Waits for a GPU."""
        if n < 1:
            raise ValueError(f"n={n}: a set has at least one element, choose >= 1")
        kept_N = (self.numbers() < n).nonzero()[:, 0]
        values, index_N = self.values.index_select(0, kept_N), self.index.index_select(0, kept_N)
        return SetBatch.trusted(values, self.lengths.clamp(max=n), index_N, min(n, self.max_len))

    def subsample(self, n: int, generator: torch.Generator | None = None) -> "SetBatch":
        """Return n random elements of each set, without replacement; all of a smaller set."""
        kept = self.with_values(self._random_order(generator)).prefix(n)  # the random order keeps that of the sets
        return kept.with_values(self.values.index_select(0, kept.values))

    def _random_order(self, generator: torch.Generator | None) -> Tensor:
        device = self.index.device if generator is None else generator.device
        order_N = torch.randperm(len(self.index), generator=generator, device=device).to(self.index.device)
        return order_N.index_select(0, self.index.index_select(0, order_N).argsort(stable=True))

    def to(self, device: torch.device | str | int, non_blocking: bool = False) -> "SetBatch":
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "SetBatch":
        return self._each(Tensor.pin_memory)

    def _each(self, function: Callable[[Tensor], Tensor]) -> "SetBatch":
        return SetBatch.trusted(function(self.values), function(self.lengths), function(self.index), self.max_len)


def _empty(lengths_B: Tensor) -> ValueError:
    empty = int((lengths_B < 1).nonzero()[0])
    return ValueError(f"set {empty} is empty: leave it out, a set has at least one element")


_FIELDS = ("values", "lengths", "index", "max_len")
pytree.register_pytree_node(
    SetBatch,
    lambda sets: ([getattr(sets, name) for name in _FIELDS], None),
    lambda fields, _: SetBatch.trusted(*fields),
    flatten_with_keys_fn=lambda sets: ([(pytree.GetAttrKey(name), getattr(sets, name)) for name in _FIELDS], None),
    serialized_type_name="set_module.set_batch.SetBatch",
)
torch.serialization.add_safe_globals([SetBatch])  # torch.load reads a saved SetBatch with weights_only=True too
