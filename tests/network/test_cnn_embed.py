import pytest
import torch

from network.cnn_embed import CNNEmbed


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("patch_size", [1, 2, 15])
@pytest.mark.parametrize(("hidden", "flatten", "features"), [([], False, 8), ([12, 6], False, 6), ([12], True, 12)])
def test_patches_become_vectors_each_by_itself(channels, patch_size, hidden, flatten, features):
    torch.manual_seed(0)
    settings = {"channels": channels, "patch_size": patch_size, "widths": [16, 8]}
    module = CNNEmbed(**settings, hidden=hidden, flatten=flatten).eval()
    patches = torch.randn(5, channels, patch_size, patch_size)
    vectors = module(patches)
    assert vectors.shape == (5, module.out_features) == (5, features)
    other = patches.clone()
    other[0] *= -1
    torch.testing.assert_close(module(other)[1:], vectors[1:])
    assert not torch.equal(module(other)[0], vectors[0])


def test_no_width_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        CNNEmbed(channels=1, patch_size=5, widths=[])


@pytest.mark.parametrize(("flatten", "differs"), [(False, False), (True, True)])
def test_the_places_of_the_last_map_are_kept_if_they_are_flattened(flatten, differs):
    torch.manual_seed(0)
    module = CNNEmbed(channels=1, patch_size=12, widths=[8], hidden=[8], flatten=flatten).eval()
    patches = torch.zeros(2, 1, 12, 12)
    patches[0, :, 2:4, 2:4] = patches[1, :, 8:10, 8:10] = 1  # the same, in another cell of the map
    vectors = module(patches)
    assert (not torch.allclose(vectors[0], vectors[1], atol=1e-6)) == differs


def test_the_places_without_a_layer_after_them_are_refused():
    with pytest.raises(ValueError, match=r"flatten=true .*: give a layer after it, hidden=\[128\]"):
        CNNEmbed(channels=1, patch_size=5, widths=[8], flatten=True)
