"""Sets of numbers whose maximum is asked for: the smallest task of a pool."""

import torch
from torch import Tensor

from datamodule.generated_sets import GeneratedSets
from set_module.reduce import set_max
from set_module.set_batch import SetBatch


class MaxRegression(GeneratedSets):
    """Sets of numbers, uniform in [0, 100], as vectors [N, 1]; the target is the largest, float32 [B].

    Lee et al. 2019, arXiv:1810.00825, section 5.1.
    """

    def draw(self, generator: torch.Generator, lengths_B: Tensor, part: str) -> tuple[SetBatch, Tensor]:
        sets = SetBatch(100 * torch.rand(int(lengths_B.sum()), 1, generator=generator), lengths_B)
        return sets, set_max(sets)[:, 0]
