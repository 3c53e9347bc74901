"""Mean and standard deviation of the pixels of a data set of any size, batch by batch: data.mean and data.std."""

import math
from collections.abc import Iterable

import torch

from datamodule.loader import Batch
from set_module.set_batch import SetBatch

# B images, C channels, H W, L = 256 levels


def mean_and_std(batches: Iterable[Batch]) -> tuple[list[float], list[float]]:
    """Return mean and std of each channel over all pixels of uint8 images, scaled to 0..1.

    mean = s1 / n / 255, std = sqrt(n s2 - s1^2) / n / 255, from the exact integer sums s1 of the levels and s2 of their
    squares over the n pixels of a channel: nothing is rounded before the end, however many images there are.
    """
    count_CL = torch.zeros(1, 256, dtype=torch.int64)
    for inputs, _, _ in batches:
        images_BCHW = inputs.values if isinstance(inputs, SetBatch) else inputs
        count_CL = count_CL + torch.stack(
            [channel.flatten().bincount(minlength=256) for channel in images_BCHW.unbind(1)]
        )
    level_L = torch.arange(256)
    sums = [(count_CL * level_L**power).sum(1).tolist() for power in (0, 1, 2)]
    channels = list(zip(*sums, strict=True))  # (n, s1, s2) of each, as Python's integers, which do not overflow
    mean = [s1 / n / 255 for n, s1, _ in channels]
    std = [math.sqrt(n * s2 - s1**2) / n / 255 for n, s1, s2 in channels]
    return mean, std
