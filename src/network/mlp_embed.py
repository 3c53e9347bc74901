"""Stack of linear layers, for the head of a patch set and for the embedding of patches and vectors."""

# B rows, N elements in all, F features of a vector, C channels, p side of a patch, D features

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from network.flat_embed import flat_size

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": partial(nn.ReLU, inplace=True), "tanh": nn.Tanh}


class MLP(nn.Sequential):
    """(Linear, LayerNorm, activation) per width: [B, in_features] -> [B, out_features], the last width.

    Ba et al. 2016, arXiv:1607.06450: unlike BatchNorm, LayerNorm mixes no rows. So the output of an item depends on no
    other item of the batch, in training too, and a batch of one item can be trained. LayerNorm removes the scale of its
    input: for regression, norm=False leaves it out. Raises ValueError for an activation other than relu and tanh.
    """

    def __init__(self, in_features: int, widths: Sequence[int], norm: bool = True, activation: str = "relu") -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"no such activation: {activation!r}; choose from {', '.join(ACTIVATIONS)}")
        layers: list[nn.Module] = []
        for width in widths:
            normalise = [nn.LayerNorm(width)] if norm else []
            layers += [nn.Linear(in_features, width), *normalise, ACTIVATIONS[activation]()]
            in_features = width
        super().__init__(*layers)
        self.out_features = in_features


class MLPEmbed(nn.Sequential):
    """Embedding of elements by Flatten and an MLP: the cheapest one, sufficient for patches of digits.

    Patches [N, C, p, p] or vectors [N, F] -> [N, D], D the last width; norm and activation are those of MLP. Raises
    ValueError without a width, and for an element that is neither a patch nor a vector, or both.
    """

    def __init__(
        self,
        widths: Sequence[int],
        channels: int | None = None,
        patch_size: int | None = None,
        features: int | None = None,
        norm: bool = True,
        activation: str = "relu",
    ) -> None:
        if not widths:
            raise ValueError("widths is empty: give at least one, e.g. [256, 256]")
        super().__init__(nn.Flatten(), MLP(flat_size(channels, patch_size, features), widths, norm, activation))
        self.out_features = widths[-1]
