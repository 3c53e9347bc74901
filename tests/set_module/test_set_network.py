"""One interface tells networks of patches, of bags and of whole images apart, whatever class they are of."""

from contextlib import suppress

import pytest
from torch import nn

from set_module.patch_cutout import PatchCutout
from set_module.set_network import SetNetwork, cuts_images, draws_patches, takes_bags, temporary_patch_num


class Own(nn.Module):
    """A network of somebody who does not use our base class."""

    position = encoder = None

    def __init__(self, cutout: PatchCutout | None) -> None:
        super().__init__()
        self.cutout = cutout

    def cut(self, images_BCHW, index_B=None):
        raise NotImplementedError

    encode = read = cut


class Drawing(Own):
    def __init__(self, max_patch_num: int | None = None) -> None:
        super().__init__(PatchCutout(4, (1, 3)))
        self.patch_num, self.max_patch_num = (1, 3), max_patch_num


@pytest.mark.parametrize(
    ("network", "is_of_sets", "cuts", "bags", "draws"),
    [
        (Drawing(), True, True, False, True),
        (Own(PatchCutout(4, mode="grid")), True, True, False, False),
        (Own(None), True, False, True, False),
        (nn.Linear(1, 1), False, False, False, False),
        (None, False, False, False, False),
    ],
)
def test_what_a_network_can_do(network, is_of_sets, cuts, bags, draws):
    assert isinstance(network, SetNetwork) == is_of_sets
    assert cuts_images(network) == cuts
    assert takes_bags(network) == bags
    assert draws_patches(network) == draws


@pytest.mark.parametrize(("places", "drawn"), [(24, 24), (None, 1000)])
def test_no_more_patches_than_there_are_places_and_its_own_number_after_an_error(places, drawn):
    network = Drawing(places)
    with suppress(RuntimeError), temporary_patch_num(network, 1000):
        assert network.patch_num == drawn
        raise RuntimeError
    assert network.patch_num == (1, 3)


def test_a_network_that_draws_no_patches_stays_as_it_is():
    network = Own(None)
    with temporary_patch_num(network, 1000):
        assert not hasattr(network, "patch_num")
