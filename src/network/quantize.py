"""Quantization-aware training: weights and activations of few bits, rounded with a straight-through gradient."""

# B images, C channels, D features

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from adapter.pytorch import convolve
from set_module.reduce import accumulable

FEWEST, MOST = 2, 8  # bits
EDGE_BITS = 8  # of the first and the last layer, as in Esser et al. 2020, arXiv:1902.08153
MOMENTUM = 0.1  # of the running magnitude of activations, as in BatchNorm
TOLERANCE = 0.1  # of the largest logit: a sum in another order may be rounded to another level
SMALLEST = 1e-8  # root mean square, so that a channel of zeros has a scale > 0


class FakeQuantize(torch.autograd.Function):
    """q(x) = s clamp(round(x / s), low, high), rounded to even: one of high - low + 1 levels, as a float.

    As the derivative of rounding is 0 nearly everywhere, backward uses the straight-through estimator: dq/dx := 1 where
    nothing is clipped, 0 elsewhere. Bengio et al. 2013, arXiv:1308.3432; Jacob et al. 2018, arXiv:1712.05877,
    section 3. x of any shape, the scale s > 0 of one that broadcasts to it; no gradient flows into s.
    """

    @staticmethod
    def forward(x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
        return (x / scale).round_().clamp_(low, high).mul_(scale).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int, int], output: Tensor) -> None:
        x, scale, ctx.low, ctx.high = inputs
        ctx.save_for_backward(x, scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        x, scale = ctx.saved_tensors
        level = (x / scale).round_()
        return grad * ((level >= ctx.low) & (level <= ctx.high)), None, None, None


class QuantizeWeight(nn.Module):
    """Weights of 2^bits levels, -2^(bits - 1) .. 2^(bits - 1) - 1, with a scale per output channel. [C, ..] -> [C, ..].

    The scale is the optimal one for normal weights of the channel's root mean square: Max 1960, "Quantizing for
    minimum distortion".
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        self.scale = best_scale(*self.levels)

    def forward(self, weight: Tensor) -> Tensor:
        rms = accumulable(weight.detach()).square().mean(tuple(range(1, weight.ndim)), keepdim=True).sqrt()
        return FakeQuantize.apply(weight, rms.clamp_min(SMALLEST) * self.scale, *self.levels)


class QuantizeActivation(nn.Module):
    """Outputs of a ReLU, of any shape, with 2^bits levels, 0 .. 2^bits - 1, and one scale.

    The scale is the optimal one for the positive half of a normal distribution (Cai et al. 2017, arXiv:1702.00953)
    with the activations' running root mean square.
    """

    rms: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = 0, 2**bits - 1
        self.scale = best_scale(*self.levels)
        self.register_buffer("rms", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.rms.lerp_(accumulable(x.detach()).square().mean().sqrt().to(self.rms.dtype), MOMENTUM)
        return FakeQuantize.apply(x, self.rms.clamp_min(SMALLEST) * self.scale, *self.levels)


class QuantizedConv2d(nn.Conv2d):
    """Convolution with the parameters of `conv`: quantised weights, and quantised inputs if activation_bits."""

    def __init__(self, conv: nn.Conv2d, bits: int, activation_bits: int | None) -> None:
        sizes = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation)
        super().__init__(*sizes, conv.groups, conv.bias is not None, conv.padding_mode, device="meta")  # type: ignore[arg-type]
        self.weight, self.bias = conv.weight, conv.bias
        self.quantize_weight = QuantizeWeight(bits)
        self.quantize_input = QuantizeActivation(activation_bits) if activation_bits else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return convolve(self, self.quantize_input(x_BCHW), self.quantize_weight(self.weight))


class QuantizedLinear(nn.Linear):
    """Linear layer with the parameters of `linear`: quantised weights, and quantised inputs if activation_bits."""

    def __init__(self, linear: nn.Linear, bits: int, activation_bits: int | None) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.quantize_weight = QuantizeWeight(bits)
        self.quantize_input = QuantizeActivation(activation_bits) if activation_bits else nn.Identity()

    def forward(self, x_BD: Tensor) -> Tensor:
        return nn.functional.linear(self.quantize_input(x_BD), self.quantize_weight(self.weight), self.bias)


def quantized(network: Callable[..., nn.Module], bits: int, **arguments: Any) -> nn.Module:
    """Build network(**arguments) with `bits` bits for weights and inputs of its convolutions and linear layers.

    The first and the last layer keep 8 bits. The first layer's input is an image and is not quantised; the inputs of
    all other layers must be >= 0, such as outputs of a ReLU. Parameters keep their names, so weights of the float
    network can be loaded. The network's `tolerance` is the allowed difference of its logits in an exported program,
    which may sum in another order. Raises ValueError for bits other than 2 to 8.
    """
    if type(bits) is not int or not FEWEST <= bits <= MOST:
        raise ValueError(f"bits={bits}: choose a whole number from {FEWEST} to {MOST}")
    built = network(**arguments)
    names = [name for name, module in built.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for name in names:
        layer_bits = EDGE_BITS if name in (names[0], names[-1]) else bits
        layer, activation_bits = built.get_submodule(name), None if name == names[0] else layer_bits
        kind = QuantizedConv2d if isinstance(layer, nn.Conv2d) else QuantizedLinear
        built.set_submodule(name, kind(layer, layer_bits, activation_bits))  # type: ignore[arg-type]
    built.tolerance = TOLERANCE  # type: ignore[assignment]
    return built


@cache
def best_scale(low: int, high: int) -> float:
    """argmin_s E (q(x) - x)^2 of a normal x, or of relu(x) where low is 0, in units of its root mean square."""
    x_I = torch.linspace(-6, 6, 6001)  # points of the integral
    density_I = (-x_I.square() / 2).softmax(0)
    x_I = x_I if low else x_I.relu()
    scales_S1 = torch.logspace(-2.5, 0.5, 700)[:, None]  # 1 % apart
    error_S = (FakeQuantize.forward(x_I, scales_S1, low, high) - x_I).square() @ density_I
    return float(scales_S1[error_S.argmin()] / (x_I.square() @ density_I).sqrt())
