"""Figure that lists the layers of a network with their parameters and multiply-adds: text, CSV and picture."""

# N patches in all, D features

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import StringIO
from typing import Any

import torch
from PIL import Image
from pytorch_lightning import Trainer
from rich import get_console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from adapter.pytorch import map_tensors
from figure.item_figure import ItemFigure, describe_item, format_shape
from figure.picture import log_picture, log_text
from figure.table_picture import drawn_table
from process.console import effective_verbosity, open_console
from set_module.set_network import draws_patches, patch_num_range, temporary_patch_num

HEAD = ("layer", "type", "output", "parameters", "multiply-adds")
RIGHT_ALIGNED = (False, False, True, True, True)
GROUP = "rate"  # a column more, where parameter groups have rates of their own
NOTE = "Multiply-adds: of convolutions, matrix products and attention."


class LayerTable(ItemFigure):
    """Table of the layers for one test image or bag, with the largest number of patches that training may draw.

    It is printed as well, unless `verbosity` is 0.
    """

    description = "table of the layers"

    def __init__(self, verbosity: int) -> None:
        self.verbosity = verbosity

    def draw(self, trainer: Trainer, network: Any, images: Any, target: Any, index_1: Tensor) -> None:
        with temporary_patch_num(network, patch_num_range(network)[1] if draws_patches(network) else 1):
            layers, item = layers_of(network, images, index_1), describe_item(network, images, index_1)
        name_groups(layers, network, trainer.lightning_module)
        title = f"{type(network).__name__}: {item}"
        log_text(trainer, "layer_table.md", as_markdown(title, layers))
        log_text(trainer, "layer_table.csv", as_csv(layers))
        log_picture(trainer, "pictures/layer_table", as_picture(title, layers))
        if effective_verbosity(self.verbosity) > 0 and get_console().is_terminal:
            get_console().print(as_rich(title, layers))  # the progress bar's console: printed above it
        else:
            open_console(self.verbosity, width=200).print(as_rich(title, layers))  # no terminal that limits the width


@dataclass
class Layer:
    """Module with parameters or computations of its own, those of its submodules excluded: columns add up to the total.

    `shape` is the shape of the output for one image, `N x D` for N patches; empty if forward is not called.
    `multiply_adds` counts convolutions, matrix products and attention, as half of torch's flops. `group` is the name of
    the parameter group, empty where there is only one.
    """

    name: str
    kind: str
    shape: str
    parameters: int
    multiply_adds: int
    group: str = ""


def layers_of(network: nn.Module, *inputs: Any) -> list[Layer]:
    """Call `network(*inputs)` once and return its layers in the order in which they were made."""
    shapes: dict[str, str] = {}

    def keep_shape(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        shapes[name] = shape_of(output)

    modules = dict(network.named_modules())
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(partial(keep_shape, name)))
        # FlopCounterMode needs gradients, as it reads grad_fn of every input of a module; that of torch 2.10 does not
        # know the processor's fused attention, so attention is computed as matrix products
        hooks.enter_context(torch.inference_mode(False))
        hooks.enter_context(torch.enable_grad())
        hooks.enter_context(sdpa_kernel(SDPBackend.MATH))
        with FlopCounterMode(display=False) as counter:
            network(*map_tensors(Tensor.clone, inputs))
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


def name_groups(layers: Sequence[Layer], network: nn.Module, module: Any) -> None:
    """Give the layers with parameters the names of their parameter groups, as the curves `lr/NAME` have them.

    Parameters that are not trained have `frozen`. `module` is the LightningModule; nothing is done where it has one
    group.
    """
    if getattr(module, "embed_lr", None) is None:
        return
    names = {id(parameter): group["name"] for group in module.parameter_groups() for parameter in group["params"]}
    for layer in layers:
        own = network.get_submodule(layer.name).parameters(recurse=False)
        found = {names.get(id(each), "") if each.requires_grad else "frozen" for each in own}
        layer.group = ", ".join(sorted(found))


def shape_of(output: Any) -> str:
    """Return the shape of an output, without the batch dimension of one image."""
    values = output if isinstance(output, Tensor) else getattr(output, "values", None)
    if not isinstance(values, Tensor):
        return ""
    return format_shape(values.shape[1:] if values.shape[0] == 1 and values.ndim > 1 else values.shape)


def cells(layers: Sequence[Layer]) -> list[tuple[str, ...]]:
    """Return a row for each layer and one for the sum."""
    rows = [(each.name, each.kind, each.shape, _count(each.parameters), _count(each.multiply_adds)) for each in layers]
    sums = sum(layer.parameters for layer in layers), sum(layer.multiply_adds for layer in layers)
    found = [*rows, ("in all", "", "", *(f"{total:,}" for total in sums))]
    if not has_groups(layers):
        return found
    return [(*row, group) for row, group in zip(found, [*(layer.group for layer in layers), ""], strict=True)]


def has_groups(layers: Sequence[Layer]) -> bool:
    return any(layer.group for layer in layers)


def head(layers: Sequence[Layer]) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """Return the names of the columns, and whether each is aligned right."""
    return ((*HEAD, GROUP), (*RIGHT_ALIGNED, False)) if has_groups(layers) else (HEAD, RIGHT_ALIGNED)


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def as_markdown(title: str, layers: Sequence[Layer]) -> str:
    """Return a Markdown table with aligned columns, which can be read as plain text."""
    names, aligned_right = head(layers)
    rows = [names, *cells(layers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: tuple[str, ...]) -> str:
        aligned = zip(row, widths, aligned_right, strict=True)
        padded = (text.rjust(width) if right else text.ljust(width) for text, width, right in aligned)
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (width + 1) + (":" if right else "-") for width, right in zip(widths, aligned_right, strict=True)]
    return "\n".join([title, "", line(names), f"|{'|'.join(rule)}|", *map(line, rows[1:]), "", NOTE, ""])


def as_csv(layers: Sequence[Layer]) -> str:
    """Return the table as CSV, with numbers without separators and without the sum."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names, _ = head(layers)
    writer.writerow([name.replace("-", "_") for name in names])
    for layer in layers:
        row = [layer.name, layer.kind, layer.shape, layer.parameters, layer.multiply_adds, layer.group]
        writer.writerow(row[: len(names)])
    return text.getvalue()


def as_rich(title: str, layers: Sequence[Layer]) -> Table:
    table = Table(title=title, caption=NOTE, title_justify="left", title_style="bold", caption_justify="left")
    for name, right in zip(*head(layers), strict=True):
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    *rows, total = cells(layers)
    for row in rows:
        table.add_row(*row)
    table.add_section()
    table.add_row(*total, style="bold")
    return table


def as_picture(title: str, layers: Sequence[Layer]) -> Image.Image:
    names, aligned_right = head(layers)
    return drawn_table([names, *cells(layers)], aligned_right, title, NOTE)
