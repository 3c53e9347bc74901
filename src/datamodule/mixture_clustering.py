"""Sets of points from mixtures of normal distributions, whose parameters are asked for."""

from typing import Any

import torch
from torch import Tensor

from datamodule.generated_sets import GeneratedSets
from set_module.set_batch import SetBatch

# B sets, N elements in all, J components, F features, P = 1 + 2 F numbers per component


class MixtureClustering(GeneratedSets):
    """Sets of points [N, F], each from its own mixture of J normal distributions; targets are these, [B, J, P].

    The weights of a mixture are uniform on the simplex (Dirichlet(1)), its means uniform in [-4, 4], its widths 0.3 for
    all. A row of a target is (weight, means, widths), with which the likelihood of the true mixture can be measured
    on the same points. Lee et al. 2019, arXiv:1810.00825, section 5.4 and its published code.
    """

    def __init__(self, *, components: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.components = components

    def draw(self, generator: torch.Generator, lengths_B: Tensor, part: str) -> tuple[SetBatch, Tensor]:
        assert self.features is not None
        count, components, features = len(lengths_B), self.components, self.features
        weight_BJ = torch.empty(count, components).exponential_(generator=generator)
        weight_BJ /= weight_BJ.sum(1, keepdim=True)
        mean_BJF = 8 * torch.rand(count, components, features, generator=generator) - 4
        width_BJF = torch.full_like(mean_BJF, 0.3)
        quantiles = SetBatch(torch.rand(int(lengths_B.sum()), generator=generator), lengths_B)
        below_NJ = weight_BJ.cumsum(1).index_select(0, quantiles.index) <= quantiles.values[:, None]
        component_N = below_NJ.sum(1).clamp(max=components - 1)  # the sum of the weights may be rounded down
        noise_NF = torch.randn(len(component_N), features, generator=generator)
        row_N = quantiles.index * components + component_N
        mean_NF, width_NF = (each.flatten(0, 1).index_select(0, row_N) for each in (mean_BJF, width_BJF))
        points = quantiles.with_values(mean_NF + width_NF * noise_NF)
        return points, torch.cat([weight_BJ[..., None], mean_BJF, width_BJF], dim=2)
