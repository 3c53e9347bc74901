"""Places that are chosen one after the other and learned by trial: the policy gradient of correct answers."""

# B images, K patches of each, P places of a patch

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from selection.glimpse import Glimpses


class Reinforce(Glimpses):
    """Glimpses whose policy pi = softmax(scores) is learned by REINFORCE with a learned baseline.

    In training the k-th place is drawn from pi, and the reader answers after each: r_j = 1 if its answer after j of K
    patches is correct, else 0. The return of choice k is G_k = (r_k + ... + r_K) / K, what it can still change of the
    mean reward, and the loss, a mean over images,

        mean_j cross-entropy_j - weight * sum_k log pi(place_k) (G_k - b_k) + sum_k (G_k - b_k)^2,

    b_k a linear function of the features before choice k. No gradient passes through the choices, through G_k - b_k in
    the second term, and from the baseline to the features. Williams 1992; Mnih et al. 2014, "Recurrent models of visual
    attention", arXiv:1406.6247, eq. 5, which rewards the last answer alone. Places of evaluation as those of Glimpses.

    Targets are labels; the network must have a `training_loss` that calls that of the selection, as Canvas has.
    """

    def __init__(self, weight: float = 1.0, width: int = 512, **settings: Any) -> None:
        super().__init__(width=width, mode="reinforce", **settings | {"read": True})
        self.weight = weight
        self.baseline = nn.Linear(width, 1)

    def chosen(self, noisy_BP: Tensor) -> Tensor:
        """Return the choice [B, P] without a gradient; with Gumbel noise it is a draw from softmax(scores)."""
        return nn.functional.one_hot(noisy_BP.detach().argmax(1), self.num_places).to(noisy_BP.dtype)

    def training_loss(
        self, images_BCHW: Tensor, targets: Any, index_B: Tensor, loss: Callable[[Tensor, Any], Tensor]
    ) -> tuple[Tensor, Tensor]:
        assert self.reader is not None
        losses, rewards, log_probabilities, baselines, masks = [], [], [], [], []
        for look in self.looks(images_BCHW, index_B):
            assert look.before is not None
            outputs_BK = self.reader(look.features)
            losses.append(loss(outputs_BK, targets))
            rewards.append((outputs_BK.argmax(1) == targets).to(look.scores.dtype))
            log_probabilities.append((look.scores.log_softmax(1) * look.choice).sum(1))
            baselines.append(self.baseline(look.before.detach())[:, 0].to(look.scores.dtype))
            masks.append(look.mask)
        returns_BK = torch.stack(rewards, dim=1).flip(1).cumsum(1).flip(1) / len(rewards)
        advantage_BK = returns_BK - torch.stack(baselines, dim=1)
        score_BK = torch.stack(log_probabilities, dim=1) * advantage_BK.detach()
        of_policy = advantage_BK.square().sum(1).mean() - self.weight * score_BK.sum(1).mean()
        return torch.stack(losses).mean() + of_policy, torch.cat(masks, dim=1)
