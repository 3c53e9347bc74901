"""A deep encoder: the same layer several times, each with its own weights."""

from collections.abc import Callable
from typing import Any

from torch import nn

from set_module.set_sequential import SetSequential


class Stack(SetSequential):
    """layer_depth(... layer_1(X)), each built by layer(in_features=out_features of the layer before).

    With a width, a linear layer [N, D] -> [N, width] comes first. With a norm, norm(out_features) comes last: layers
    that normalise their inputs, not their outputs, need it (Xiong et al. 2020, arXiv:2002.04745).
    SetBatch of [N, D] -> SetBatch of [N, out_features]. Raises ValueError for a depth or width below 1.
    """

    def __init__(
        self,
        in_features: int,
        layer: Callable[..., Any],
        depth: int,
        width: int | None = None,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        if depth < 1:
            raise ValueError(f"{depth=}: choose >= 1, or encoder=none for no encoder")
        layers: list[Any] = []
        if width is not None:
            if width < 1:
                raise ValueError(f"{width=}: choose >= 1, or null for that of the elements")
            layers.append(nn.Linear(in_features, width))
            in_features = width
        for _ in range(depth):
            layers.append(layer(in_features=in_features))
            in_features = layers[-1].out_features
        if norm is not None:
            layers.append(norm(in_features))
        super().__init__(*layers)
        self.out_features = in_features
