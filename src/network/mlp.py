"""The stack of linear layers that the embedding and the head of a patch set share."""

# B rows, D features

from collections.abc import Sequence

from torch import nn


class MLP(nn.Sequential):
    """(Linear, LayerNorm, ReLU) per width: [B, in_features] -> [B, out_features], the last width.

    Ba et al. 2016, arXiv:1607.06450: unlike BatchNorm it mixes no rows, so that neither a set nor an image
    depends on what else is in the batch, in training either, and a last batch of one trains too.
    """

    def __init__(self, in_features: int, widths: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Linear(in_features, width), nn.LayerNorm(width), nn.ReLU(inplace=True)]
            in_features = width
        super().__init__(*layers)
        self.out_features = in_features
