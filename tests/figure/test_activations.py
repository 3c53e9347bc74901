import torch
from torch import nn

from figure.activations import activations_of


def convolutions() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 1),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(10, 3),
    )


def test_activations_are_the_outputs_of_each_convolution_before_pooling():
    network, x = convolutions().eval(), torch.rand(1, 1, 6, 5)
    activations = activations_of(network, "", (nn.Conv2d,), network, x)
    expected = {"0": network[:3](x), "4": network[:6](x)}
    assert [activation.name for activation in activations] == list(expected)
    for activation in activations:
        assert torch.equal(activation.values, expected[activation.name])
    assert not any(part._forward_hooks for part in network.modules()), "no hook is left"


def test_submodules_of_a_layer_are_no_activation_of_the_layer_before():
    network, inner = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1)), nn.Identity()
    network[1].part = inner
    network[1].register_forward_pre_hook(lambda *_: inner(torch.zeros(9, 9, 9, 9))[:0].tolist() or None)
    images = torch.rand(1, 1, 4, 4)
    activations = activations_of(network, "", (nn.Conv2d,), network, images)
    assert [list(activation.values.shape) for activation in activations] == [[1, 2, 4, 4], [1, 3, 4, 4]]
