"""Mean and standard deviation of the pixels or vectors of a data set of any size: data.mean and data.std."""

import math
from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor

from datamodule.loader import Batch
from set_module.lazy_images import LazyImages
from set_module.patch_cutout import PatchCutout
from set_module.set_batch import SetBatch

PATCH, PATCHES = 64, 256  # pixels on a side, and how many patches of an image are measured

# B images, C channels, H W, L = 256 levels, N vectors of F features


def mean_and_std(batches: Iterable[Batch]) -> tuple[list[float], list[float]]:
    """Return mean and std of each channel of uint8 images, scaled to 0..1, or of each feature of float vectors.

    Of pixels, mean = s1 / n / 255, std = sqrt(n s2 - s1^2) / n / 255, from the exact integer sums s1 of the levels and
    s2 of their squares over the n pixels of a channel: nothing is rounded before the end, however many there are. Of
    LazyImages, the n pixels are those of PATCHES random patches of each.
    """
    elements = (_elements(inputs) for inputs, _, _ in batches)
    first = next(iter(elements))
    every = chain([first], elements)
    return _of_features(every) if first.is_floating_point() else _of_pixels(every)


def _elements(inputs: Tensor | SetBatch | LazyImages) -> Tensor:
    """Return images, elements of sets, or patches of images that are read patch by patch."""
    if isinstance(inputs, LazyImages):
        size = min(PATCH, int(inputs.sizes_B2.min()))
        return PatchCutout(size, PATCHES, seed=0)(inputs, torch.tensor(inputs.items)).values
    return inputs.values if isinstance(inputs, SetBatch) else inputs


def _of_features(batches: Iterable[Tensor]) -> tuple[list[float], list[float]]:
    """Merge the count, the mean and the squared distance from it of each batch of vectors [N, F], in fp64.

    Chan et al. 1979: unlike E[x^2] - E[x]^2, nothing cancels where the mean is large.
    """
    count, mean_F, square_F = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for vectors_NF in batches:
        values_NF, number = vectors_NF.double(), len(vectors_NF)
        own_F = values_NF.mean(0)
        apart_F = own_F - mean_F
        square_F = square_F + (values_NF - own_F).square().sum(0) + apart_F.square() * count * number / (count + number)
        count += number
        mean_F = mean_F + apart_F * number / count
    return mean_F.tolist(), (square_F / count).sqrt().tolist()


def _of_pixels(batches: Iterable[Tensor]) -> tuple[list[float], list[float]]:
    count_CL = torch.zeros(1, 256, dtype=torch.int64)
    for images_BCHW in batches:
        count_CL = count_CL + torch.stack(
            [channel.flatten().bincount(minlength=256) for channel in images_BCHW.unbind(1)]
        )
    level_L = torch.arange(256)
    sums = [(count_CL * level_L**power).sum(1).tolist() for power in (0, 1, 2)]
    channels = list(zip(*sums, strict=True))  # (n, s1, s2) of each, as Python's integers, which do not overflow
    mean = [s1 / n / 255 for n, s1, _ in channels]
    std = [math.sqrt(n * s2 - s1**2) / n / 255 for n, s1, s2 in channels]
    return mean, std
