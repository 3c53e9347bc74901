"""Normalisation of the data, the first layer of every network, so that evaluate, predict and export include it."""

# .. any leading shape, C H W of an image or a patch, N vectors in all, F features of a vector

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """(x / 255 - mean) / std per channel, as one scale and one shift.

    uint8 [.., C, H, W] -> float of the same shape; a mean or std of length 1 serves all channels. Raises
    ValueError for other lengths, std <= 0, another number of channels, and images that are not uint8 (they
    would be divided by 255 twice).
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], channels: int) -> None:
        super().__init__()
        _check(mean, std, channels, "channels")
        self.channels = channels
        mean_C11, std_C11 = (torch.tensor(list(v)).expand(channels).reshape(-1, 1, 1) for v in (mean, std))
        self.register_buffer("scale", 1 / (255 * std_C11))
        self.register_buffer("shift", -mean_C11 / std_C11)

    def forward(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8:
            raise ValueError(f"images are {images.dtype}: give uint8, the network normalises them itself")
        if images.ndim < 3 or images.shape[-3] != self.channels:
            raise ValueError(f"images have shape {list(images.shape)}: give [.., {self.channels}, H, W]")
        # in place on the fresh copy: with its broadcasts, torch.addcmul takes 20 times as long on a CPU
        return images.to(self.scale.dtype).mul_(self.scale).add_(self.shift)


class NormalizeVectors(nn.Module):
    """(x - mean) / std per feature: float [N, F] -> float [N, F].

    A mean or std of length 1 serves all features. Raises ValueError for other lengths, std <= 0, another number of
    features, and vectors that are not floats.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], features: int) -> None:
        super().__init__()
        _check(mean, std, features, "features")
        self.features = features
        mean_F, std_F = (torch.tensor(list(values), dtype=torch.float32).expand(features) for values in (mean, std))
        self.register_buffer("mean", mean_F.clone())
        self.register_buffer("scale", 1 / std_F)

    def forward(self, vectors_NF: Tensor) -> Tensor:
        if not vectors_NF.is_floating_point():
            raise ValueError(f"vectors are {vectors_NF.dtype}: give float32")
        if vectors_NF.ndim != 2 or vectors_NF.shape[1] != self.features:
            raise ValueError(f"vectors have shape {list(vectors_NF.shape)}: give [N, {self.features}]")
        return (vectors_NF.to(self.scale.dtype) - self.mean) * self.scale


def _check(mean: Sequence[float], std: Sequence[float], count: int, of: str) -> None:
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, count):
            raise ValueError(f"{name} has {len(values)} entries for {count} {of}: give 1 or as many")
    if min(std) <= 0:
        raise ValueError(f"std={list(std)}: every entry must be > 0")
