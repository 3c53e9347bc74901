"""Embedding of patches by convolutions, for coloured or large patches; slower than linear layers."""

# N patches in all, C channels, p side of a patch, D features

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from network.conv import conv_block, halved
from network.mlp_embed import MLP


class CNNEmbed(nn.Sequential):
    """(3x3 convolution, BatchNorm, ReLU, 2x2 max pooling) per width, the mean over places, then an MLP of `hidden`.

    With BatchNorm, a patch's features depend on all patches of the batch in training, on the patch alone in evaluation.
    [N, C, p, p] -> [N, D], D the last of all widths. Raises ValueError without a width, and for `flatten` without
    `hidden`.

    Args:
        hidden: widths of (Linear, LayerNorm, ReLU) after the convolutions, for a pool that only sums or averages.
        flatten: give the first of `hidden` the values at all places of the last map in place of their mean: for
            elements that are whole objects, whose parts have their places.
    """

    def __init__(
        self, channels: int, patch_size: int, widths: Sequence[int], hidden: Sequence[int] = (), flatten: bool = False
    ) -> None:
        if not widths:
            raise ValueError("widths is empty: give at least one, e.g. [32, 64, 128]")
        if flatten and not hidden:
            raise ValueError("flatten=true keeps all places of the last map: give a layer after it, hidden=[128]")
        pairs = pairwise([channels, *widths])
        blocks = [conv_block(inputs, outputs, pool=True) for inputs, outputs in pairs]
        side = halved(patch_size, len(widths)) if flatten else 1
        layers = [MLP(widths[-1] * side**2, hidden)] if hidden else []
        super().__init__(*blocks, nn.Identity() if flatten else nn.AdaptiveAvgPool2d(1), nn.Flatten(), *layers)
        self.to(memory_format=torch.channels_last)  # 1.7 times as fast on a CPU
        self.out_features = [*widths, *hidden][-1]
