"""Differentiable patch selection: the k best places of a thumbnail's scores, smoothed by noise in training."""

# B images, N patches in all, P places of an image, J samples of noise, M = k places, S places that are read of an image

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from selection.thumbnail_scores import ThumbnailScores
from set_module.counter_rng import random_int
from set_module.lazy_images import LazyImages, PlacedCorners
from set_module.set_batch import SetBatch

RESOLUTION = 2**24  # quantiles of the normal distribution, each of which has a middle in float32


class PerturbedTopK(ThumbnailScores):
    """PatchCutout of the k places with the largest scores s of a thumbnail, scaled to 0..1 in each image.

    In training, patch m of an image is sum_p Y_mp x_p, Y_mp = E[place p is the m-th best of s + sigma Z], Z normal: the
    mean over `samples`, which depend on the seed, the epoch, the image and the place alone. So the loss has a gradient
    for s: Cordonnier et al. 2021, arXiv:2104.03059, section 3; Berthet et al. 2020, arXiv:2002.08676. Patches come in
    the order of their scores, not of their places as in the paper, so that the first n of more patches are those of n.
    sigma falls linearly to 0 over the `epochs`; in evaluation mode it is 0. Raises ValueError for samples or a sigma
    that are not positive.
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
        scale: int = 4,
        widths: Sequence[int] = (16, 16),
        sigma: float = 0.05,
        samples: int = 100,
        epochs: int = 1,
        **facts: Any,
    ) -> None:
        if samples < 1 or sigma <= 0:
            raise ValueError(f"{samples=}, {sigma=}: choose numbers > 0")
        facts = {"channels": channels, "mean": mean, "std": std, "scale": scale, "widths": widths}
        super().__init__(size, count, seed, test_count, stride, 0, "topk", **facts)
        self.sigma, self.samples, self.epochs = sigma, samples, epochs

    @property
    def present_sigma(self) -> float:
        """Return sigma in the present epoch, which is not 0 in any epoch of the training."""
        return self.sigma * max(1 - self.epoch / self.epochs, 1 / (2 * self.epochs))

    def positions(self, images: Tensor | LazyImages, index_B: Tensor) -> SetBatch:
        """Return the corners [N, 2] of the best places; in training, BlendedPlaces of the places that are read."""
        candidates = self.candidates(images)
        scores_BP = _scaled(self.scores(images, candidates), candidates.pad()[1])
        if not self.training:
            return self.best(images, candidates, scores_BP, index_B)[0]
        assert self.count is not None
        draw_JP = 1 + torch.arange(self.samples * scores_BP.shape[1], device=scores_BP.device)
        quantile = random_int(RESOLUTION, self.seed, self.epoch, index_B[:, None], draw_JP).to(scores_BP.dtype)
        noise_BJP = torch.special.ndtri((quantile + 0.5) / RESOLUTION).unflatten(1, (self.samples, -1))
        share_BMP = perturbed_top_k(scores_BP, noise_BJP, self.present_sigma, self.count[1])
        lengths_B, set_N, _, max_len = self.drawn_lengths(index_B)
        patches = SetBatch.trusted(index_B.index_select(0, set_N), lengths_B, set_N, max_len)
        there_BM = torch.arange(share_BMP.shape[1], device=lengths_B.device) < lengths_B[:, None]
        read_BP = (share_BMP.detach() * there_BM[:, :, None]).sum(1) > 0
        corners = SetBatch.from_padded(candidates.pad()[0], read_BP)
        share_BPM = SetBatch.from_padded(share_BMP.mT, read_BP).pad()[0]
        return BlendedPlaces.of_shares(self._placed(images, corners), share_BPM.mT, patches)


class BlendedPlaces(PlacedCorners):
    """Corners [N', 2] of the places that are read, and the share of each in each of M patches, [B, M, S].

    `patches` says which image each of the N patches belongs to.
    """

    share: Tensor
    patches: SetBatch

    @classmethod
    def of_shares(cls, corners: SetBatch, share_BMS: Tensor, patches: SetBatch) -> "BlendedPlaces":
        blended = cls.__new__(cls)
        blended.__dict__.update(corners.__dict__)
        blended.share, blended.patches = share_BMS, patches
        return blended

    def blend(self, read: SetBatch) -> SetBatch:
        """Return sum_p Y_mp x_p of what was read, SetBatch of [N', *F] -> [N, *F]."""
        read_BSF = read.values.flatten(1)
        blended_BMF = self.share.to(read_BSF.dtype) @ read.with_values(read_BSF).pad()[0]
        slot_N = self.patches.index * self.share.shape[1] + self.patches.numbers()
        values = blended_BMF.flatten(0, 1).index_select(0, slot_N)
        return self.patches.with_values(values.unflatten(1, read.values.shape[1:]))


def perturbed_top_k(scores_BP: Tensor, noise_BJP: Tensor, sigma: float, k: int) -> Tensor:
    """Return Y [B, M, P], the share of the samples in which place p is the m-th best of s + sigma Z, with a gradient.

    dL/ds = mean_j Z_j <dL/dY, Y_j> / sigma, Y_j the choice in sample j: Berthet et al. 2020, proposition 3.1.
    """
    share_BMP: Tensor = _PerturbedTopK.apply(scores_BP, noise_BJP, sigma, k)
    return share_BMP


class _PerturbedTopK(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores_BP: Tensor, noise_BJP: Tensor, sigma: float, k: int) -> Tensor:  # type: ignore[override]
        order_BMJ = (scores_BP[:, None] + sigma * noise_BJP).topk(k, dim=2).indices.mT
        ctx.save_for_backward(noise_BJP, order_BMJ)
        ctx.sigma = sigma
        samples = noise_BJP.shape[1]
        share_BMP = scores_BP.new_zeros(len(scores_BP), k, scores_BP.shape[1])
        return share_BMP.scatter_add_(2, order_BMJ, torch.full_like(order_BMJ, 1.0, dtype=share_BMP.dtype)) / samples

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BMP: Tensor) -> Any:
        noise_BJP, order_BMJ = ctx.saved_tensors
        gain_BJ = gradient_BMP.gather(2, order_BMJ).sum(1)
        gradient_BP = torch.einsum("bj,bjp->bp", gain_BJ, noise_BJP) / (ctx.sigma * gain_BJ.shape[1])
        return gradient_BP, None, None, None


def _scaled(scores_BP: Tensor, mask_BP: Tensor) -> Tensor:
    """Return scores from 0 to 1 in each image, -inf where there is no place."""
    least_B1 = scores_BP.masked_fill(~mask_BP, torch.inf).amin(1, keepdim=True)
    return (scores_BP - least_B1) / (scores_BP.amax(1, keepdim=True) - least_B1 + 1e-5)
