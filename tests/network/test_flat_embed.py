import pytest
import torch

from network.flat_embed import IdentityEmbed, LinearEmbed

VECTORS, PATCHES = torch.randn(5, 3), torch.randn(5, 3, 2, 2)


def test_identity_keeps_vectors_and_flattens_patches():
    assert torch.equal(IdentityEmbed(features=3)(VECTORS), VECTORS)
    assert IdentityEmbed(features=3).out_features == 3
    assert torch.equal(IdentityEmbed(channels=3, patch_size=2)(PATCHES), PATCHES.flatten(1))
    assert IdentityEmbed(channels=3, patch_size=2).out_features == 12


@pytest.mark.parametrize(
    ("element", "elements"), [({"features": 3}, VECTORS), ({"channels": 3, "patch_size": 2}, PATCHES)]
)
def test_linear_is_one_product_of_all_numbers(element, elements):
    embed = LinearEmbed(width=4, **element)
    assert embed.out_features == 4
    expected = elements.flatten(1) @ embed[1].weight.T + embed[1].bias
    torch.testing.assert_close(embed(elements), expected)


def test_no_width_is_refused():
    with pytest.raises(ValueError, match="width=0: choose >= 1"):
        LinearEmbed(width=0, features=3)


@pytest.mark.parametrize("element", [{}, {"channels": 3}, {"channels": 3, "patch_size": 2, "features": 3}])
def test_an_element_is_a_vector_or_a_patch(element):
    with pytest.raises(ValueError, match="give channels and patch_size of patches, or features of vectors"):
        IdentityEmbed(**element)
