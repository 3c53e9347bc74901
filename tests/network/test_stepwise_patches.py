"""The form that chooses patches step by step: the network itself, choice included, as plain operations."""

from functools import partial

import pytest
import torch

from network.canvas import Canvas
from network.cnn import CNN
from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from network.stepwise_patches import StepwisePatches
from selection.glimpse import Glimpses
from set_module.position import SinusoidalPosition
from set_module.reduce_pool import ReducePool

IMAGES = torch.randint(256, (6, 2, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
COLUMNS = 6  # of places of 4x4 patches
FACTS = {"channels": 2, "image_size": [7, 9], "num_outputs": 3, "mean": [0.5], "std": [0.25], "seed": 0}
PATCHES = {"patch_size": 4, "patch_num_min": 1, "patch_num_max": 5, "selection": partial(Glimpses, width=16)}


def network(kind, **settings):
    torch.manual_seed(0)
    if kind == "canvas":
        built = Canvas(**FACTS, **PATCHES | settings, body=partial(CNN, widths=[4]))
    else:
        parts = {"embed": partial(MLPEmbed, widths=[8]), "position": SinusoidalPosition}
        built = PatchSet(**FACTS, **PATCHES | settings, **parts, pool=partial(ReducePool, reductions=["mean", "max"]))
    with torch.no_grad():
        built.cutout.policy[-1].weight.mul_(20)  # else all images have nearly the same scores
    return built.eval()


@pytest.mark.parametrize("kind", ["canvas", "patch_set"])
@pytest.mark.parametrize("number", [1, 4, 24])
def test_it_gives_what_the_network_gives(kind, number):
    own = network(kind, test_patch_num=number)
    form = StepwisePatches(own)
    assert (form.num_patches, form.mode) == (number, "glimpse")
    places = own.cutout.positions(IMAGES, torch.arange(6)).values.view(6, number, 2)
    assert number == 1 or len({str(of_one.tolist()) for of_one in places}) > 1, "the places depend on the image"
    torch.testing.assert_close(form(IMAGES), own(IMAGES))
    assert torch.equal(form._chosen(IMAGES)[1], places[..., 0] * COLUMNS + places[..., 1])


def test_a_number_that_is_free_in_evaluation_is_the_largest():
    own = network("canvas")
    form = StepwisePatches(own)
    own.patch_num = 5
    torch.testing.assert_close(form(IMAGES), own(IMAGES))


def test_a_choice_between_equal_scores_is_not_decided():
    own = network("canvas", test_patch_num=2)
    with torch.no_grad():
        own.cutout.policy[-1].weight.zero_()
        own.cutout.policy[-1].bias.copy_(torch.arange(24) * 0.01)
    assert StepwisePatches(own).is_decided(IMAGES).all()
    own.cutout.policy[-1].bias.data[21] = own.cutout.policy[-1].bias.data[22] + 1e-6  # of the second choice
    assert not StepwisePatches(own).is_decided(IMAGES).any()
