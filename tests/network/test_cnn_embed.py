import pytest
import torch

from network.cnn_embed import CNNEmbed


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("patch_size", [1, 2, 15])
@pytest.mark.parametrize(("hidden", "features"), [([], 8), ([12, 6], 6)])
def test_patches_become_vectors_each_by_itself(channels, patch_size, hidden, features):
    torch.manual_seed(0)
    module = CNNEmbed(channels=channels, patch_size=patch_size, widths=[16, 8], hidden=hidden).eval()
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
