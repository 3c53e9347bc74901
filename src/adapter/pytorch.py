"""Private names of torch."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def map_tensors(function: Callable[["Tensor"], "Tensor"], inputs: Any) -> Any:
    """Apply a function to every tensor in nested containers, those registered as pytree nodes included."""
    from torch import Tensor
    from torch.utils._pytree import tree_map_only

    return tree_map_only(Tensor, function, inputs)


def convolve(conv: "nn.Conv2d", x_BCHW: "Tensor", weight: "Tensor") -> "Tensor":
    """Apply a convolution with another weight in the place of its own, with its bias, stride and padding mode."""
    return conv._conv_forward(x_BCHW, weight, conv.bias)
