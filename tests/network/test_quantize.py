import copy
import warnings
from functools import partial

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.autograd import gradcheck

from network.cnn import CNN
from network.quantize import (
    FakeQuantize,
    QuantizeActivation,
    QuantizedConv2d,
    QuantizedLinear,
    QuantizeWeight,
    best_scale,
    quantized,
)
from network.vgg import VGG11

FACTS = {"channels": 1, "image_size": [8, 8], "num_outputs": 10, "mean": [0.5], "std": [0.25]}
SMALL = partial(CNN, widths=[8, 16, 16], **FACTS)


def images_of(b: int) -> torch.Tensor:
    return torch.randint(256, (b, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def small(bits: int) -> nn.Module:
    """Build a network whose BatchNorm and magnitudes were updated by batches."""
    torch.manual_seed(0)
    network = quantized(SMALL, bits)
    for _ in range(30):
        network(images_of(64))
    return network


@pytest.mark.parametrize(("low", "high"), [(-2, 1), (-8, 7), (0, 15)])
def test_values_and_gradients_are_those_of_torchs_own(low, high):
    torch.manual_seed(0)
    ours = torch.randn(1000, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    weight = torch.randn(1000)
    got = FakeQuantize.apply(ours, torch.tensor(0.25), low, high)
    expected = torch.fake_quantize_per_tensor_affine(theirs, 0.25, 0, low, high)
    torch.testing.assert_close(got, expected)
    (got * weight).sum().backward()
    (expected * weight).sum().backward()
    assert 0 < (ours.grad == 0).sum() < 1000
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_backward_is_the_slope_over_whole_levels():
    # differences as wide as a level see no rounding; in the outermost cells they are half clipped, so x is not in those
    x = torch.tensor([-4.1, -2.4, -1.51, -0.8, -0.02, 0.3, 0.99, 1.4, 2.6, 5.0], dtype=torch.double) * 0.25
    assert gradcheck(lambda x: FakeQuantize.apply(x, torch.tensor(0.25), -3, 2), x.requires_grad_(), eps=0.25)


def test_the_gradient_of_torch_func_is_that_of_autograd():
    x = torch.linspace(-2, 2, 21)
    gradient = torch.func.grad(lambda x: FakeQuantize.apply(x, torch.tensor(0.5), -2, 1).square().sum())(x)
    # 2 q where -2.5 <= x / s <= 1.5, ties to even
    expected = torch.where((x >= -1.25) & (x < 0.75), 2 * (x / 0.5).round().clamp(-2, 1) * 0.5, 0)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_weights_and_activations_have_2_to_the_bits_levels(bits):
    values = torch.linspace(-1, 1, 20001).pow(9)  # with long tails: every level is reached
    weights = QuantizeWeight(bits)(torch.stack([values, 100 * values]))
    assert [len(channel.unique()) for channel in weights] == [2**bits, 2**bits]
    torch.testing.assert_close(weights[1], 100 * weights[0])  # a scale per channel
    activation = QuantizeActivation(bits).eval()
    levels = activation(10 * values.relu()).unique()
    assert len(levels) == 2**bits
    torch.testing.assert_close(levels, torch.arange(2**bits) * levels[1])


@pytest.mark.parametrize(("bits", "published"), [(4, 0.3352), (5, 0.1881), (8, 0.0308)])
def test_the_scale_is_near_the_optimal_uniform_one_for_a_normal_distribution(bits, published):
    # Max 1960, table 2, and Hui & Neuhoff 2001: for levels on both sides of 0, here one of them is 0
    assert best_scale(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_no_other_scale_is_nearer_to_what_comes_out_of_a_relu(bits):
    x = 3 * torch.randn(100_000, generator=torch.Generator().manual_seed(0)).relu()
    quantize = QuantizeActivation(bits)
    for _ in range(100):
        quantize(x)
    best = (quantize.eval()(x) - x).square().mean()
    for factor in (0.8, 1.25):
        scale = factor * quantize.scale * quantize.rms
        assert best < (FakeQuantize.apply(x, scale, 0, 2**bits - 1) - x).square().mean()


@pytest.mark.parametrize(
    ("layer", "kind", "shape"),
    [
        (nn.Conv2d(4, 6, 3, 2, 2, 2, groups=2, bias=False), QuantizedConv2d, (2, 4, 9, 9)),
        (nn.Linear(5, 3), QuantizedLinear, (2, 5)),
    ],
    ids=["conv", "linear"],
)
def test_a_layer_is_that_layer_of_the_quantised(layer, kind, shape):
    x = torch.rand(shape)
    got = kind(layer, 3, 2).eval()(x)
    layer = copy.deepcopy(layer)
    layer.weight.data = QuantizeWeight(3)(layer.weight.data)
    torch.testing.assert_close(got, layer(QuantizeActivation(2).eval()(x)))


def test_activations_are_measured_in_training_only():
    quantize = QuantizeActivation(4)
    x = torch.full((4, 3), 5.0)
    before = x.clone()
    for _ in range(100):
        quantize(x)
    assert quantize.rms.item() == pytest.approx(5, rel=1e-3)
    assert torch.equal(x, before)
    quantize.eval()(9 * x)
    assert quantize.rms.item() == pytest.approx(5, rel=1e-3)


def test_zeros_are_quantised_to_zeros():
    weight = torch.zeros(2, 3, requires_grad=True)
    quantised = QuantizeWeight(4)(weight)
    quantised.sum().backward()
    assert not quantised.any()
    assert weight.grad.eq(1).all()
    quantize = QuantizeActivation(4)
    quantize.rms.zero_()
    assert not quantize(torch.zeros(2, 3)).any()


def test_the_more_bits_the_nearer_to_the_float_network():
    torch.manual_seed(0)
    exact = SMALL()
    for _ in range(30):
        exact(images_of(64))
    expected = exact.eval()(images_of(32))
    errors = [((small(bits).eval()(images_of(32)) - expected).norm() / expected.norm()).item() for bits in (8, 6, 4, 2)]
    assert errors == sorted(errors)
    assert errors[0] < 0.05 < errors[-1]


def test_first_and_last_layer_keep_8_bits_and_the_input_is_not_quantised_again():
    layers = [module for module in quantized(SMALL, 3).modules() if hasattr(module, "quantize_weight")]
    widths = [module.quantize_weight.levels[1] + 1 for module in layers]
    assert widths == [128, *[4] * (len(layers) - 2), 128]
    assert isinstance(layers[0].quantize_input, nn.Identity)
    assert [module.quantize_input.levels[1] + 1 for module in layers[1:]] == [*[8] * (len(layers) - 2), 256]


def test_weights_of_the_float_network_fit():
    missing, unexpected = quantized(partial(VGG11, batch_norm=True), 4, **FACTS).load_state_dict(
        VGG11(**FACTS, batch_norm=True).state_dict(), strict=False
    )
    assert not unexpected
    assert {name.rpartition(".")[2] for name in missing} == {"rms"}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_every_parameter_learns(precision):
    network = quantized(SMALL, 2)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        logits = network(images_of(16))
    logits.float().square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float64])
def test_every_parameter_of_another_type_learns(precision):
    torch.manual_seed(0)
    network = quantized(SMALL, 4).to(precision)
    before = torch.get_default_dtype()
    torch.set_default_dtype(precision)  # as trainer.precision=bf16-true does
    try:
        logits = network(images_of(16))
    finally:
        torch.set_default_dtype(before)
    assert logits.dtype == precision
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("magnitude", [1e-4, 300])
def test_magnitudes_that_fp16_cannot_square_are_quantised(magnitude):
    weight = magnitude * torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    got = QuantizeWeight(8)(weight.half())
    assert got.dtype == torch.float16
    torch.testing.assert_close(got.float(), QuantizeWeight(8)(weight), rtol=0, atol=0.05 * magnitude)


@pytest.mark.parametrize("bits", [1, 9, 2.0, True, None])
def test_other_bits_are_refused(bits):
    with pytest.raises(ValueError, match="choose a whole number from 2 to 8"):
        quantized(SMALL, bits)


def test_compiles_as_a_whole():
    torch.manual_seed(0)
    eager = quantized(lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU()), 4)
    compiled, x = copy.deepcopy(eager), torch.randn(4, 1, 8, 8)
    got = torch.compile(compiled, fullgraph=True, backend="aot_eager")(x)
    for module, result in ((eager, eager(x)), (compiled, got)):
        result.square().sum().backward()
        torch.testing.assert_close(result, got)
        torch.testing.assert_close(module[2].weight.grad, eager[2].weight.grad)
    assert compiled[2].quantize_input.rms == eager[2].quantize_input.rms != 1


def test_exports_and_onnx_equal_eager_on_another_number_of_images(tmp_path):
    import onnxruntime

    network = small(4).eval()
    expected = network(images_of(5)).detach()
    program = torch.export.export(network, (images_of(2),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.testing.assert_close(program.module()(images_of(5)), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.onnx, about itself
        torch.onnx.export(program, dynamo=True, verbose=False).save(tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    (got,) = session.run(None, {session.get_inputs()[0].name: images_of(5).numpy()})
    # a sum in another order is another number in its last bit, and now and then another level
    torch.testing.assert_close(torch.from_numpy(got), expected, rtol=0, atol=0.05 * expected.abs().max().item())


@pytest.mark.long
@pytest.mark.parametrize("bits", [2, 4])
def test_learns_digits(bits):
    digits = load_digits()
    images = torch.from_numpy(digits.images * 15).to(torch.uint8)[:, None]
    labels = torch.from_numpy(digits.target)
    torch.manual_seed(0)
    network = quantized(SMALL, bits)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(5):
        for batch in torch.randperm(1500).split(50):
            loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    right = network.eval()(images[1500:]).argmax(1) == labels[1500:]
    assert right.float().mean() > 0.8


def test_bits_that_do_not_exist_are_one_line(command, capsys, tmp_path):
    assert command("train", "model=vgg11_quantized", "hparams.bits=9") == 1
    assert capsys.readouterr().err == "error: hparams.bits=9: must be a whole number from 2 to 8\n"
    assert not list(tmp_path.iterdir())
