import torch
from torch import nn

from network.lenet_bn import LeNetBN


def test_four_convolutions_and_three_linear_layers_normalised_but_the_last():
    model = LeNetBN(3, [32, 32], 10, mean=[0.5], std=[0.25])
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.BatchNorm1d)]
    assert [type(m).__name__ for m in layers] == ["Conv2d", "BatchNorm2d"] * 4 + [
        "Linear",
        "BatchNorm1d",
    ] * 2 + ["Linear"]


def test_invariant_to_the_scale_of_a_convolution():
    torch.manual_seed(0)
    model = LeNetBN(3, [32, 32], 10, mean=[0.5], std=[0.25])
    images = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)
    before = model(images)
    with torch.no_grad():
        model.features[2][0].weight.mul_(3)
    torch.testing.assert_close(model(images), before, rtol=1e-3, atol=1e-3)
