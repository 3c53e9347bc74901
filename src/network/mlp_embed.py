"""Embeds patches by linear layers: the cheapest embedding, enough for patches of digits."""

# N patches in all, C channels, p side of a patch, D features

from collections.abc import Sequence

from torch import nn

from network.mlp import MLP


class MLPEmbed(nn.Sequential):
    """Flatten and an MLP: [N, C, p, p] -> [N, D], D the last width. Raises ValueError without a width."""

    def __init__(self, channels: int, patch_size: int, widths: Sequence[int]) -> None:
        if not widths:
            raise ValueError("widths is empty: give at least one, e.g. [256, 256]")
        super().__init__(nn.Flatten(), MLP(channels * patch_size**2, widths))
        self.out_features = widths[-1]
