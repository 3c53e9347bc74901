"""Figure of the weights of a network's first layer, drawn as patches of pixels."""

# F filters, C h w of a filter

from math import ceil, prod, sqrt
from typing import Any

import torch
from PIL.Image import Image, fromarray
from pytorch_lightning import Trainer
from torch import Tensor, nn

from figure.item_figure import ItemFigure, format_shape
from figure.picture import captioned, fitted, grid, log_picture
from set_module.set_network import SetNetwork

RED, BLUE = (0.75, 0.02, 0.1), (0.02, 0.25, 0.7)
WIDTH, LARGEST = 576, 144  # pixels of a row and of a filter, at most
SHARE = 0.995  # of the weights lie within the colour scale, as a few can be many times larger


class FirstFilters(ItemFigure):
    """Figure of the `count` filters of largest norm of the first layer, a convolution or a linear layer on the pixels.

    All filters share one colour scale. Networks that begin with another layer, and those
    of vectors, get no figure.
    Raises ValueError for a count below 1.
    """

    description = "picture of the first filters"

    def __init__(self, count: int) -> None:
        if type(count) is not int or count < 1:
            raise ValueError(f"first_filters.count={count}: choose a whole number >= 1, or first_filters=null")
        self.count = count

    def draw(self, trainer: Trainer, network: Any, images: Any, target: Any, index_1: Tensor) -> None:
        pixels = network.cut(images, index_1)[0].values if isinstance(network, SetNetwork) else images
        if pixels.ndim == 4 and (found := filters_of(network, tuple(pixels.shape[1:]))) is not None:
            log_picture(trainer, "pictures/first_filters", drawn_filters(*found, self.count))


def filters_of(network: nn.Module, pixels_CHW: tuple[int, int, int]) -> tuple[str, Tensor] | None:
    """Return name and weights [F, C, h, w] of the first layer on pixels of this shape, None if it is another layer.

    A convolution of folded pixels is one of the pixels themselves, with as many times larger filters.
    """
    fold = 1
    for name, module in network.named_modules():
        if isinstance(module, nn.PixelUnshuffle):
            fold = module.downscale_factor
        if isinstance(module, nn.Conv2d):
            return name, nn.functional.pixel_shuffle(module.weight.detach().float().cpu(), fold)
        if isinstance(module, nn.Linear):
            weight_FD = module.weight.detach().float().cpu()
            return (name, weight_FD.unflatten(1, pixels_CHW)) if weight_FD.shape[1] == prod(pixels_CHW) else None
    return None


def drawn_filters(name: str, weight_FChw: Tensor, count: int) -> Image:
    """Draw filters of 3 channels as colours around gray, others as the mean of channels, red above 0 and blue below."""
    order_F = weight_FChw.flatten(1).norm(dim=1).argsort(descending=True, stable=True)[:count]
    kept_FChw = weight_FChw[order_F]
    if coloured := kept_FChw.shape[1] == 3:
        words = "Gray: 0; a channel from"
    else:
        kept_FChw, words = kept_FChw.mean(1, keepdim=True), "White: 0; blue to red:"
    limit = float(kept_FChw.abs().flatten().kthvalue(ceil(SHARE * kept_FChw.numel())).values)
    unit_FChw = (kept_FChw / max(limit, torch.finfo(torch.float32).tiny)).clamp(-1, 1)
    pixels_FhwC = around_gray(unit_FChw) if coloured else blue_to_red(unit_FChw)
    columns = ceil(sqrt(len(kept_FChw)))
    tiles = [fitted(fromarray(pixels_hwC.numpy()), min(LARGEST, WIDTH // columns)) for pixels_hwC in pixels_FhwC]
    total, shape = len(weight_FChw), format_shape(weight_FChw.shape[1:])
    shown = f"the {len(tiles)} of {total} filters" if len(tiles) < total else f"{total} filters"
    heading = f"{name}: {shown} {shape}, the largest norm first."
    scale = f"{words} {-limit:.2g} to {limit:.2g}, all on one scale."
    return captioned(grid(tiles, columns), heading, scale, width=480)


def around_gray(unit_FChw: Tensor) -> Tensor:
    return (127.5 * (1 + unit_FChw)).round().to(torch.uint8).movedim(1, 3)


def blue_to_red(unit_F1hw: Tensor) -> Tensor:
    unit_Fhw1 = unit_F1hw.movedim(1, 3)
    colour = torch.where(unit_Fhw1 > 0, torch.tensor(RED), torch.tensor(BLUE))
    return (255 * torch.lerp(torch.ones(3), colour, unit_Fhw1.abs())).round().to(torch.uint8)
