import torch

from network.mlp import MLP


def test_is_linear_layer_norm_relu_per_width():
    mlp = MLP(3, [5, 4])
    assert mlp.out_features == 4
    rows = torch.randn(50, 3)
    expected = rows
    for layer in mlp:
        if hasattr(layer, "in_features"):
            expected = expected @ layer.weight.T + layer.bias
            variance, mean = torch.var_mean(expected, 1, correction=0, keepdim=True)
            expected = (expected - mean) / (variance + 1e-5).sqrt()
            expected = expected.relu()
    torch.testing.assert_close(mlp(rows), expected, rtol=1e-4, atol=1e-5)


def test_no_width_is_the_identity():
    rows = torch.randn(2, 3)
    assert MLP(3, []).out_features == 3
    assert torch.equal(MLP(3, [])(rows), rows)
