"""What the layers of a network hand on, kept while it runs."""

# n images (one) or patches, C maps of h w, D features

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass
class Stage:
    """What a layer hands on, [n, C, h, w] or [n, D] on the CPU: after its normalisation and activation."""

    name: str
    values: Tensor


def stages_of(network: Any, prefix: str, kinds: tuple[type[nn.Module], ...], call: Any, *inputs: Any) -> list[Stage]:
    """While `call(*inputs)` runs: what each layer of these kinds, whose name begins so, hands on to the next.

    After normalisation and activation, and a pooling between them, but before one that follows: it makes small what is
    to be seen.
    """
    stages: list[Stage] = []

    def keep(name: str) -> Any:
        def hook(part: nn.Module, inputs: Any, output: Any) -> None:
            begins = isinstance(part, kinds)
            if not isinstance(output, Tensor) or not (begins or stages) or "Pool" in type(part).__name__:
                return
            values = output.detach().float().cpu().clone()  # an activation in place would change it
            if begins:
                stages.append(Stage(name, values))
            elif values.ndim == stages[-1].values.ndim:
                stages[-1].values = values

        return hook

    parts = {name: part for name, part in network.named_modules() if name.startswith(prefix)}
    layers = tuple(f"{name}." for name, part in parts.items() if isinstance(part, kinds))
    handles = [
        part.register_forward_hook(keep(name))
        for name, part in parts.items()
        if f"{name}." in layers or not (list(part.children()) or name.startswith(layers))  # a layer's own parts
    ]
    try:
        call(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return stages
