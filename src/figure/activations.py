"""The outputs of the layers of a network, recorded while it runs."""

# n images (one) or patches, C maps of h w, D features

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn


@dataclass
class Activation:
    """Output of a layer after its normalisation and activation, [n, C, h, w] or [n, D] on the CPU."""

    name: str
    values: Tensor


def activations_of(
    network: Any, prefix: str, kinds: tuple[type[nn.Module], ...], call: Callable[..., Any], *inputs: Any
) -> list[Activation]:
    """Run `call(*inputs)` and return the output of each layer of these kinds.

    The output is taken after normalisation and activation, and after a pooling between them, but before a pooling that
    follows, which would shrink the map that is shown.

    Args:
        prefix: beginning of the names of the layers that are recorded, such as `embed.`; "" for all.
        kinds: classes of layers that begin a new activation, such as nn.Conv2d.
        call: the network, or a method of it.
    """
    activations: list[Activation] = []

    def record(name: str, part: nn.Module, inputs: Any, output: Any) -> None:
        begins = isinstance(part, kinds)
        if not isinstance(output, Tensor) or not (begins or activations) or "Pool" in type(part).__name__:
            return
        values = output.detach().float().cpu().clone()  # a later in-place activation would change the output
        if begins:
            activations.append(Activation(name, values))
        elif values.ndim == activations[-1].values.ndim:
            activations[-1].values = values

    parts = {name: part for name, part in network.named_modules() if name.startswith(prefix)}
    layers = tuple(f"{name}." for name, part in parts.items() if isinstance(part, kinds))
    with ExitStack() as hooks:
        for name, part in parts.items():
            if f"{name}." in layers or not (list(part.children()) or name.startswith(layers)):  # not inside a layer
                hooks.enter_context(part.register_forward_hook(partial(record, name)))
        call(*inputs)
    return activations
