"""The layers of a network and what each of them costs, found by calling it once."""

# N patches in all, D features

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from figure.one_item import by


@dataclass
class Layer:
    """A module that has parameters or does work beside that of its parts; the table's columns add up to the whole.

    `shape` of what it returns for one image, with N patches `N x D`, is empty where only a method of it is called.
    `multiply_adds` are those of convolutions, matrix products and attention, half of what torch counts as flops.
    """

    name: str
    kind: str
    shape: str
    parameters: int
    multiply_adds: int


def layers_of(network: nn.Module, *inputs: Any) -> list[Layer]:
    """In the order in which they were made; `network(*inputs)` is called once."""
    shapes: dict[str, str] = {}

    def keep_shape(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            shapes[name] = shape_of(output)

        return hook

    modules = dict(network.named_modules())
    handles = [module.register_forward_hook(keep_shape(name)) for name, module in modules.items()]
    try:
        # torch's counter looks for the gradient of what modules are handed, a parameter too
        with torch.inference_mode(False), torch.enable_grad(), FlopCounterMode(display=False) as counter:
            network(*tree_map_only(Tensor, Tensor.clone, inputs))
    finally:
        for handle in handles:
            handle.remove()
    flops = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    root = type(network).__name__

    def counted(name: str) -> int:
        return flops.get(f"{root}.{name}" if name else root, 0) // 2

    layers = []
    for name, module in modules.items():
        parts = [f"{name}.{part}" if name else part for part, _ in module.named_children()]
        parameters = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        multiply_adds = counted(name) - sum(map(counted, parts))
        if parameters or multiply_adds or (not parts and name in shapes):
            layers.append(Layer(name, type(module).__name__, shapes.get(name, ""), parameters, multiply_adds))
    return layers


def shape_of(output: Any) -> str:
    """Without the batch of one image."""
    values = output if isinstance(output, Tensor) else getattr(output, "values", None)
    if not isinstance(values, Tensor):
        return ""
    return by(values.shape[1:] if values.shape[0] == 1 and values.ndim > 1 else values.shape)
