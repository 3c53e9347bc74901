"""Clustering: a mixture of normal distributions for each set, by maximum likelihood."""

# B sets of a batch, N elements in all, J components, F features of an element, P = 1 + 2 F numbers per component

from collections.abc import Mapping, Sequence
from math import log, pi
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric

from process.errors import UserError
from set_module.set_batch import SetBatch
from task.task import Task, describe, numbered


class Clustering(Task):
    """A mixture of J normal distributions with diagonal covariance for each set of vectors [N, F].

    Outputs [B, J P] are, for each component, the logit of its weight, its F means, and F numbers s that give the widths
    softplus(s). The loss is minus the mean log-likelihood of an element, sum_i log sum_j w_j N(x_i; m_j, d_j) / n, of
    Lee et al. 2019, arXiv:1810.00825, section 5.4. Targets are the parameters of the true mixture, float32 [B, J, P] as
    (w, m, d), or float32 [B, 0] if they are unknown. The step metrics are `log_likelihood` and, with known parameters,
    `gap`: by how much the true mixture is more likely, on the same elements.
    """

    name = "clustering"
    measured_by_steps = True
    main_metric = ("log_likelihood", True)

    def __init__(
        self, components: int, features: int, num_outputs: int, metrics: Mapping[str, Metric] | None = None
    ) -> None:
        super().__init__(num_outputs, torch.nn.Identity(), metrics)
        self.components, self.features = components, features

    def batch_loss(self, outputs_BK: Tensor, targets: Tensor, inputs: SetBatch, others: Any) -> Tensor:
        return -log_likelihood(self.predict(outputs_BK), inputs).mean()

    def step_metrics(self, outputs_BK: Tensor, targets: Tensor, inputs: SetBatch) -> dict[str, Tensor]:
        """Return the mean log-likelihood of an element, and its `gap` to that of the true mixture if this is known."""
        found = log_likelihood(self.predict(outputs_BK.detach()), inputs).mean()
        if targets.numel() == 0:
            return {"log_likelihood": found}
        return {"log_likelihood": found, "gap": log_likelihood(targets, inputs).mean() - found}

    def predict(self, outputs_BK: Tensor) -> Tensor:
        """Return weights, means and widths of the components, [B, J, P]."""
        outputs_BJP = outputs_BK.float().reshape(len(outputs_BK), self.components, -1)
        weight_BJ1 = outputs_BJP[..., :1].softmax(1)
        mean_BJF, width_BJF = outputs_BJP[..., 1:].split(self.features, dim=2)
        return torch.cat([weight_BJ1, mean_BJF, functional.softplus(width_BJF)], dim=2)

    def value_names(self, names: Sequence[str]) -> list[str]:
        """Return weight_J, mean_J_F and width_J_F of each component."""
        return [
            column
            for j in range(self.components)
            for column in (f"weight_{j}", *numbered(f"mean_{j}", self.features), *numbered(f"width_{j}", self.features))
        ]

    def check_targets(self, targets: Any, where: str) -> None:
        known = (self.components, 1 + 2 * self.features)
        if not isinstance(targets, Tensor) or tuple(targets.shape[1:]) not in (known, (0,)):
            raise UserError(
                f"task={self.name} takes the true mixtures, float32 [B, {known[0]}, {known[1]}], or [B, 0] if they are "
                f"unknown, and {where} are {describe(targets)}: choose the task that fits these data"
            )


def log_likelihood(mixture_BJP: Tensor, elements: SetBatch) -> Tensor:
    """Return the mean log-likelihood [B] of the elements [N, F] of each set under its mixture (w, m, d)."""
    features, index = elements.values.shape[1], elements.index
    weight_BJ1, mean_BJF, width_BJF = mixture_BJP.split([1, features, features], dim=2)
    width_BJF = width_BJF.clamp(min=1e-6)  # of 0, or a weight that has underflowed, the logarithm is infinite
    constant_BJ = weight_BJ1[..., 0].clamp(min=1e-30).log() - width_BJF.log().sum(2) - features / 2 * log(2 * pi)
    distance_NJF = elements.values[:, None] - mean_BJF.index_select(0, index)
    scaled_NJF = distance_NJF / width_BJF.index_select(0, index)
    log_density_N = (constant_BJ.index_select(0, index) - scaled_NJF.square().sum(2) / 2).logsumexp(1)
    total_B = log_density_N.new_zeros(len(mixture_BJP)).index_add(0, index, log_density_N)
    return total_B / elements.lengths
