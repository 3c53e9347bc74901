"""Modules that act on each element by itself, lifted to sets."""

from torch import nn

from set_module.set_batch import SetBatch


class ElementWise(nn.Sequential):
    """The modules one after another on the packed elements: {x_i} -> {f(x_i)}, SetBatch -> SetBatch."""

    def forward(self, sets: SetBatch) -> SetBatch:
        return sets.with_values(super().forward(sets.values))
