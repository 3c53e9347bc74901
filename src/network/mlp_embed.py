"""Stack of linear layers, for the head of a patch set and for the embedding of patches."""

# B rows, N patches in all, C channels, p side of a patch, D features

from collections.abc import Sequence

from torch import nn


class MLP(nn.Sequential):
    """(Linear, LayerNorm, ReLU) per width: [B, in_features] -> [B, out_features], the last width.

    Ba et al. 2016, arXiv:1607.06450: unlike BatchNorm, LayerNorm mixes no rows. So the output of an item depends on no
    other item of the batch, in training too, and a batch of one item can be trained.
    """

    def __init__(self, in_features: int, widths: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Linear(in_features, width), nn.LayerNorm(width), nn.ReLU(inplace=True)]
            in_features = width
        super().__init__(*layers)
        self.out_features = in_features


class MLPEmbed(nn.Sequential):
    """Embedding of patches by Flatten and an MLP: the cheapest one, sufficient for patches of digits.

    [N, C, p, p] -> [N, D], D the last width. Raises ValueError without a width.
    """

    def __init__(self, channels: int, patch_size: int, widths: Sequence[int]) -> None:
        if not widths:
            raise ValueError("widths is empty: give at least one, e.g. [256, 256]")
        super().__init__(nn.Flatten(), MLP(channels * patch_size**2, widths))
        self.out_features = widths[-1]
