"""Attention sampling: places drawn from an attention map, which learns from the patches that were seen."""

# B images, N patches in all, P places of an image, M places that are drawn, S patches of the largest set, D features

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from selection.chosen_places import gumbel
from selection.thumbnail_scores import ThumbnailScores
from set_module.lazy_images import LazyImages, PlacedCorners
from set_module.set_batch import SetBatch

LEAST = 1e-6  # of a probability: what is divided by


class AttentionSampling(ThumbnailScores):
    """PatchCutout of places drawn without replacement from a = softmax(scores of a thumbnail); the best in evaluation.

    Katharopoulos & Fleuret 2019, arXiv:1905.03711. The network's mean over the patches becomes an estimate of
    sum_i a_i h_i over all places, whose gradient for the attention is unbiased: see SampledPlaces. So the pool must be
    a mean. Noise depends on the seed, the epoch, the image and the place alone. With `apart`, a place stands for those
    that it leaves out, as if they had its features. Raises ValueError for a negative noise.

    Args:
        unbiased: False: a biased estimate with less noise, the mean by the attention among the chosen places alone.
        noise: of the choice in training: 1 draws from the attention, 0 takes its largest; only 1 is unbiased.
    """

    def __init__(
        self,
        size: int,
        count: int | Sequence[int],
        seed: int,
        channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        test_count: int | None = None,
        stride: int | None = None,
        apart: int = 0,
        scale: int = 4,
        widths: Sequence[int] = (16, 16),
        unbiased: bool = True,
        noise: float = 1.0,
        **facts: Any,
    ) -> None:
        facts = {"channels": channels, "mean": mean, "std": std, "scale": scale, "widths": widths}
        super().__init__(size, count, seed, test_count, stride, apart, "attention_sampling", **facts)
        if noise < 0:
            raise ValueError(f"{noise=}: choose a number >= 0")
        self.unbiased, self.noise = unbiased, noise

    def positions(self, images: Tensor | LazyImages, index_B: Tensor) -> SetBatch:
        """Return the corners [N, 2] as SampledPlaces."""
        candidates = self.candidates(images)
        log_attention_BP = self.scores(images, candidates).log_softmax(1)
        drawn_BP = log_attention_BP.detach()
        if self.training and self.noise:
            draw_P = 1 + torch.arange(drawn_BP.shape[1], device=drawn_BP.device)
            drawn_BP = drawn_BP + self.noise * gumbel(self.seed, self.epoch, index_B[:, None], draw_P)
        corners, order_BM, step_BP = self.best(images, candidates, drawn_BP, index_B)
        none_BM = log_attention_BP.new_zeros(len(index_B), order_BM.shape[1] + 1)
        mass_BM = none_BM.scatter_add(1, step_BP, log_attention_BP.exp())[:, :-1]
        return SampledPlaces.of_draws(corners, log_attention_BP.gather(1, order_BM), mass_BM, self.unbiased)


class SampledPlaces(PlacedCorners):
    """Corners [N, 2] drawn one after the other, their log attention and the mass A that each draw takes, [B, M].

    F_n = sum_{j<n} A_j h_j + (1 - sum_{j<n} A_j) h_n has the expectation sum_i a_i h_i for each n, given the draws
    before: a_n / (1 - sum_{j<n} A_j) is the probability p_n of draw n. So the gradient of sum_i a_i h_i is the
    expectation of that of F_n + (F_n - b_n) log p_n, in which F_n - b_n is a constant and b_n, here the mean of the
    other estimates, does not depend on draw n in expectation.
    """

    log_attention: Tensor
    mass: Tensor
    unbiased: bool

    @classmethod
    def of_draws(cls, corners: SetBatch, log_attention_BM: Tensor, mass_BM: Tensor, unbiased: bool) -> "SampledPlaces":
        sampled = cls.__new__(cls)
        sampled.__dict__.update(corners.__dict__)
        sampled.log_attention, sampled.mass, sampled.unbiased = log_attention_BM, mass_BM, unbiased
        return sampled

    def prefix(self, n: int) -> "SampledPlaces":
        return SampledPlaces.of_draws(super().prefix(n), self.log_attention, self.mass, self.unbiased)

    def weighed(self, features: SetBatch) -> SetBatch:
        """Return elements whose mean is the estimate, of the features [N, D] of these patches or of the first ones."""
        features_BSD, mask_BS = features.pad()
        slots = features_BSD.shape[1]
        log_attention_BS, mass_BS = self.log_attention[:, :slots], self.mass[:, :slots]
        if not self.unbiased:
            weights_BS = log_attention_BS.masked_fill(~mask_BS, -torch.inf).softmax(1) * features.lengths[:, None]
            weighed_BSD = weights_BS[:, :, None].to(features_BSD.dtype) * features_BSD
        else:
            left_BS = (1 - (mass_BS.cumsum(1) - mass_BS)).clamp(min=LEAST)
            parts_BSD = mass_BS[:, :, None] * features_BSD
            weighed_BSD = parts_BSD.cumsum(1) - parts_BSD + left_BS[:, :, None] * features_BSD
            log_p_BS = log_attention_BS - left_BS.log()
            gain_BSD = (weighed_BSD - _others(weighed_BSD, mask_BS)).detach()
            weighed_BSD = weighed_BSD + gain_BSD * (log_p_BS - log_p_BS.detach())[:, :, None]
        return features.with_values(weighed_BSD.flatten(0, 1).index_select(0, features.slots()))


def _others(estimates_BSD: Tensor, mask_BS: Tensor) -> Tensor:
    """Return the mean of the other estimates of an image, 0 if there is none."""
    estimates_BSD, count_B11 = estimates_BSD * mask_BS[:, :, None], mask_BS.sum(1)[:, None, None]
    return (estimates_BSD.sum(1, keepdim=True) - estimates_BSD) / (count_B11 - 1).clamp(min=1)
