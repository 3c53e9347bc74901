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


@pytest.mark.parametrize(
    ("fold", "unpadded", "side"), [(1, [], 4), (2, [], 2), (2, [6], 0), (1, [6], 2), (1, [6, 5], 0)]
)
def test_folded_pixels_and_convolutions_without_padding(fold, unpadded, side):
    settings = {"channels": 3, "patch_size": 8, "widths": [4], "hidden": [7], "flatten": True}
    if not side:
        with pytest.raises(ValueError, match="each takes 2 off the side of the map"):
            CNNEmbed(**settings, fold=fold, unpadded=unpadded)
        return
    module = CNNEmbed(**settings, fold=fold, unpadded=unpadded)
    convolutions = [each for each in module.modules() if isinstance(each, torch.nn.Conv2d)]
    assert convolutions[0].in_channels == 3 * fold**2
    assert next(each for each in module.modules() if isinstance(each, torch.nn.Linear)).in_features == (
        [4, *unpadded][-1] * side**2
    )
    assert module(torch.randn(2, 3, 8, 8)).shape == (2, 7)


def test_a_fold_that_does_not_divide_the_patch_is_refused():
    with pytest.raises(ValueError, match="fold=2 does not divide patch_size=5"):
        CNNEmbed(channels=1, patch_size=5, widths=[8], fold=2)


def test_bounded_features():
    module = CNNEmbed(channels=1, patch_size=6, widths=[8], hidden=[9], flatten=True, norm=False, activation="tanh")
    vectors = module(1000 * torch.randn(50, 1, 6, 6))
    assert vectors.abs().max() <= 1
    assert vectors.min() < -0.1
