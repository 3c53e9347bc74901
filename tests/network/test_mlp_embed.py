import pytest
import torch

from network.mlp_embed import MLP, MLPEmbed


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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("patch_size", [1, 2, 15])
def test_patches_become_vectors_each_by_itself(channels, patch_size):
    torch.manual_seed(0)
    module = MLPEmbed(channels=channels, patch_size=patch_size, widths=[16, 8]).eval()
    patches = torch.randn(5, channels, patch_size, patch_size)
    vectors = module(patches)
    assert vectors.shape == (5, module.out_features) == (5, 8)
    other = patches.clone()
    other[0] *= -1
    torch.testing.assert_close(module(other)[1:], vectors[1:])
    assert not torch.equal(module(other)[0], vectors[0])


def test_no_width_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        MLPEmbed(channels=1, patch_size=5, widths=[])


def test_vectors_become_features_each_by_itself():
    torch.manual_seed(0)
    module = MLPEmbed(features=3, widths=[16, 8])
    vectors = torch.randn(5, 3)
    features = module(vectors)
    assert features.shape == (5, module.out_features) == (5, 8)
    torch.testing.assert_close(module(vectors[2:3])[0], features[2])


@pytest.mark.parametrize(("activation", "function"), [("relu", torch.relu), ("tanh", torch.tanh)])
def test_without_the_norm_the_scale_of_the_input_is_kept(activation, function):
    module = MLPEmbed(features=3, widths=[5, 4], norm=False, activation=activation)
    first, second = (layer for layer in module.modules() if isinstance(layer, torch.nn.Linear))
    vectors = torch.randn(6, 3)
    torch.testing.assert_close(module(vectors), function(second(function(first(vectors)))))


def test_another_activation_is_refused():
    with pytest.raises(ValueError, match="no such activation: 'gelu'; choose from relu, tanh"):
        MLP(3, [4], activation="gelu")
