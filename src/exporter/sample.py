"""The test images, or sets, on which exported files are checked and measured."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from process.errors import UserError

BATCH = 25  # images may have hundreds of patches each
ELEMENTS = 2**15  # of a batch of sets after padding, at most, unless one set has more


class Sample:
    """The items of a test set, of which any number can be read, evenly spaced."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def batches(self, most: int) -> Iterator[tuple[Any, Any, Tensor]]:
        """Yield (images or sets, targets, index_B) of `most` items at most, evenly spaced."""
        index_N = torch.arange(len(self))[:: -(-len(self) // most)]
        for index_B in self._divided(index_N):
            targets = self.source.targets
            if isinstance(targets, Mapping):
                chosen: Any = {name: target.index_select(0, index_B) for name, target in targets.items()}
            else:
                chosen = targets.index_select(0, index_B)
            yield self.source.inputs(index_B), chosen, index_B

    def _divided(self, index_N: Tensor) -> Iterator[Tensor]:
        """Yield the positions batch by batch."""
        lengths = getattr(self.source, "lengths", None)
        if lengths is None:
            yield from index_N.split(BATCH)
            return
        first, longest = 0, 0
        for number, length in enumerate(lengths[index_N].tolist()):
            longest, count = max(longest, length), number - first
            if count == BATCH or (count and longest * (count + 1) > ELEMENTS):
                yield index_N[first:number]
                first, longest = number, length
        yield index_N[first:]


def of_test_set(data: Any) -> Sample | None:
    """Return the test set of a data module, None if it has none or its files are not here."""
    try:
        source = data.source("test")
    except UserError:
        return None
    return None if source is None else Sample(source)
