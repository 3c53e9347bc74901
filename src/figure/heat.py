"""Numbers as colours from dark to bright."""

import torch
from PIL.Image import Image, fromarray
from torch import Tensor

# colours from dark to bright
HEAT = torch.tensor([[8, 6, 24], [84, 18, 109], [187, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=torch.float32)


def scaled(values: Tensor) -> Tensor:
    """Scale values to 0 ... 1; to 0 if all are equal."""
    low, high = values.aminmax()
    return (values - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)


def heated(unit_hw: Tensor) -> Image:
    """Colour values of 0 ... 1 from dark to bright."""
    place_hw = unit_hw.nan_to_num(nan=0.0) * (len(HEAT) - 1)
    below_hw = place_hw.floor().long().clamp(0, len(HEAT) - 2)
    colours_hw3 = torch.lerp(HEAT[below_hw], HEAT[below_hw + 1], (place_hw - below_hw)[..., None])
    return fromarray(colours_hw3.round().to(torch.uint8).numpy())
