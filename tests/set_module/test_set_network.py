"""One interface tells networks of patches, of bags and of whole images apart, whatever class they are of."""

from contextlib import suppress

import pytest
import torch
from torch import nn

from set_module.patch_cutout import PatchCutout
from set_module.set_network import (
    SetNetwork,
    cuts_images,
    draws_patches,
    logits_at,
    patch_num_limit,
    patch_num_range,
    takes_bags,
    temporary_patch_num,
)


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


def test_the_logits_at_numbers_are_those_of_a_network_with_this_number_or_its_own():
    network = Drawing()
    network.forward = lambda images, index: torch.tensor([float(network.patch_num)])
    assert logits_at(network, torch.zeros(1), None, []) == {}
    assert logits_at(network, torch.zeros(1), None, [2, 5]) == {2: torch.tensor([2.0]), 5: torch.tensor([5.0])}
    assert network.patch_num == (1, 3)
    network.logits_at = lambda images, index, numbers: dict.fromkeys(numbers, -images)
    assert logits_at(network, torch.ones(1), None, [2]) == {2: torch.tensor([-1.0])}


def test_the_number_of_patches_is_a_range_or_one_number():
    network = Drawing()
    assert (patch_num_range(network), patch_num_limit(network)) == ((1, 3), None)
    network.patch_num = 4
    del network.max_patch_num
    assert (patch_num_range(network), patch_num_limit(network)) == ((4, 4), None)
    assert patch_num_limit(Drawing(24)) == 24
