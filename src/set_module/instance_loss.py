"""Instance-level auxiliary loss: the instances that look most like the label of their bag learn it too."""

# B sets of S slots, N elements in all, K outputs

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from set_module.bag_classifier import known_output
from set_module.reduce import accumulable, set_max, set_mean
from set_module.set_batch import SetBatch


class InstanceLoss(nn.Module):
    """c loss(y, Y) + (1 - c) loss(t, Y), t_k the mean of the k-th logits of the `top` instances that have the largest.

    With top=1 the second term is instance-level multiple-instance learning by the maximum. With c=0.5 as well, and y
    the second stream alone, the loss is that of DSMIL: Li et al. 2021, arXiv:2011.08939, authors' code. Smaller sets
    take all their instances. With `negative`, the second term is plain cross-entropy, without the options of `loss`: of
    a set with this label, the mean over its instances, which all have the label; of another set, that of t. Outputs
    [B, K], targets of `loss` (labels or rows), and `instance_logits`, SetBatch of [N, K] -> []. Raises ValueError for a
    weight outside of 0..1, top below 1, and a negative class with targets that are no labels.
    """

    def __init__(
        self, loss: Callable[..., Tensor], bag_weight: float = 0.5, top: int = 1, negative: int | None = None
    ) -> None:
        super().__init__()
        if not 0 <= bag_weight <= 1:
            raise ValueError(f"{bag_weight=}: choose 0 to 1")
        if top < 1:
            raise ValueError(f"{top=}: choose >= 1")
        self.loss, self.bag_weight, self.top, self.negative = loss, bag_weight, top, negative

    def forward(self, outputs_BK: Tensor, targets: Tensor, others: Mapping[str, Any]) -> Tensor:
        logits = known_output(others, "instance_logits").map(accumulable)
        bag_loss = self.loss(outputs_BK, targets)
        return self.bag_weight * bag_loss + (1 - self.bag_weight) * self.instance_loss(logits, targets)

    def instance_loss(self, logits: SetBatch, targets: Tensor) -> Tensor:
        """Return the second term, of instance logits [N, K]."""
        best_BK = top_mean(logits, self.top)
        if self.negative is None:
            return self.loss(best_BK, targets)
        if targets.is_floating_point() or targets.ndim != 1:
            raise ValueError(f"negative={self.negative} takes one label for each set: leave it out, negative=null")
        negative_B = targets == self.negative
        each_N = F.cross_entropy(logits.values, torch.full_like(logits.index, self.negative), reduction="none")
        each_B = set_mean(logits.with_values(each_N[:, None]))[:, 0]
        return torch.where(negative_B, each_B, F.cross_entropy(best_BK, targets, reduction="none")).mean()


def top_mean(scores: SetBatch, top: int) -> Tensor:
    """Return the mean of the `top` largest values of each column, or of all in a smaller set: [N, K] -> [B, K]."""
    if top == 1:
        return set_max(scores)
    padded_BSK, _ = scores.pad(-torch.inf)
    best_BtK = padded_BSK.topk(min(top, scores.max_len), dim=1).values
    count_B1 = scores.lengths.clamp(max=top)[:, None]
    slot_t = torch.arange(best_BtK.shape[1], device=count_B1.device)
    return best_BtK.where((slot_t < count_B1)[:, :, None], 0).sum(1) / count_B1
