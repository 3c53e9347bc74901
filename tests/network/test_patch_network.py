"""What networks of patches share: three ways to cut, places, sets that are cut already."""

from functools import partial

import pytest
import torch

from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from set_module.position import LearnedPosition, SinusoidalPosition
from set_module.reduce_pool import ReducePool
from set_module.set_batch import SetBatch

IMAGES = torch.randint(256, (6, 3, 16, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def build(**settings) -> PatchSet:
    torch.manual_seed(0)
    cut = {"patch_size": 5, "patch_num_min": 1, "patch_num_max": 8, "seed": 0} | settings
    data = {"channels": 3, "image_size": [16, 12], "num_classes": 4, "mean": [0.5], "std": [0.25]}
    embed = partial(MLPEmbed, widths=[16])
    return PatchSet(embed=embed, pool=partial(ReducePool, reductions=["mean", "max"]), **data, **cut).eval()


def test_images_and_the_patches_cut_from_them_have_the_same_logits():
    network = build()
    patches, corners = network.cut(IMAGES)
    assert corners is not None
    assert torch.equal(network(patches), network(IMAGES))


@pytest.mark.parametrize(("mode", "number"), [("grid", 4 * 3), ("all", 12 * 8)])
def test_grid_and_all_say_how_many_patches_there_are(mode, number):
    network = build(patch_mode=mode)
    assert network.cut(IMAGES)[0].lengths.tolist() == [number] * 6
    assert not hasattr(network, "patch_num")


@pytest.mark.parametrize("position", [SinusoidalPosition, LearnedPosition])
def test_with_a_position_the_place_of_a_patch_counts(position):
    network = build(position=position)
    patches, corners = network.cut(IMAGES)
    logits = network.read(network.encode(patches, corners))
    assert torch.equal(logits, network(IMAGES))
    moved = corners.with_values((corners.values + 1) % 8)
    assert not torch.allclose(logits, network.read(network.encode(patches, moved)))
    with pytest.raises(ValueError, match="give it the corners too"):
        network(patches)


def test_where_the_data_are_sets_nothing_is_cut():
    network = build(patch_mode=None)
    sets = SetBatch.from_list([IMAGES[:2, :, :5, :5], IMAGES[2:3, :, :5, :5]])
    assert network(sets).shape == (2, 4)
    assert not hasattr(network, "patch_num")
    with pytest.raises(ValueError, match="the data must be sets"):
        network(IMAGES)
    with pytest.raises(ValueError, match="leave out the position"):
        build(patch_mode=None, position=LearnedPosition)


def test_more_patches_than_places_are_refused_without_replacement():
    assert build(patch_size=11, patch_num_min=12, patch_num_max=12, patch_replace=False)(IMAGES).isfinite().all()
    with pytest.raises(ValueError, match="exceeds the 12 places"):
        build(patch_size=11, patch_num_min=12, patch_num_max=13, patch_replace=False)(IMAGES)
