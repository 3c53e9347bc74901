from functools import partial

import pytest
import torch

from network.bag_of_patches import BagOfPatches
from network.mlp_embed import MLPEmbed
from set_module.attention_pool import AttentionPool
from set_module.reduce_pool import ReducePool

IMAGES = torch.randint(256, (3, 1, 9, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def build(reductions=("mean",), **settings) -> BagOfPatches:
    torch.manual_seed(0)
    cut = {"patch_size": 4, "patch_num_min": 6, "patch_num_max": 6, "seed": 0} | settings
    data = {"channels": 1, "image_size": [9, 8], "num_outputs": 5, "mean": [0.5], "std": [0.25]}
    parts = {"embed": partial(MLPEmbed, widths=[16]), "pool": partial(ReducePool, reductions=list(reductions))}
    return BagOfPatches(**parts | data | cut).eval()


def test_the_logits_are_the_mean_of_those_of_each_patch_alone():
    network = build()
    patches, _ = network.cut(IMAGES)
    for logits, each in zip(network(IMAGES), patches, strict=True):
        alone = torch.cat([network(patches.from_list([patch[None]])) for patch in each])
        torch.testing.assert_close(logits, alone.mean(0))


def test_where_one_patch_lies_the_heat_map_shows_its_logits():
    network = build(patch_num_min=1, patch_num_max=1)
    heat_BKHW, logits_BK = network.heat_map(IMAGES), network(IMAGES)
    assert heat_BKHW.shape == (3, 5, 9, 8)
    _, corners = network.cut(IMAGES)
    for heat_KHW, logits_K, (y, x) in zip(heat_BKHW, logits_BK, corners.values.tolist(), strict=True):
        inside = heat_KHW[:, y : y + 4, x : x + 4]
        torch.testing.assert_close(inside, logits_K[:, None, None].expand_as(inside))
        assert heat_KHW.isnan().sum() == 5 * (9 * 8 - 16)


def test_a_pool_of_several_reductions_is_refused():
    with pytest.raises(ValueError, match="the pool returns 10 values for 5 logits"):
        build(["mean", "max"])


def test_sets_without_places_have_no_heat_map():
    network = build()
    with pytest.raises(ValueError, match="give images"):
        network.heat_map(network.cut(IMAGES)[0])


def test_the_evidence_for_a_label_is_its_heat_map():
    network, labels_B = build(), torch.tensor([4, 0, 2])
    expected = network.heat_map(IMAGES)[torch.arange(3), labels_B]
    with torch.inference_mode():
        maps_BHW = network.evidence(IMAGES, None, labels_B)
    assert torch.equal(maps_BHW.isnan(), expected.isnan())
    torch.testing.assert_close(maps_BHW.nan_to_num(), expected.nan_to_num())


def test_the_logits_of_instances_pool_to_the_output():
    network = build(pool=partial(AttentionPool, hidden=4), returns=["instance_logits", "weights"])
    returned = network(IMAGES)
    assert returned["instance_logits"].values.shape == (18, 5)
    for output_K, logits_nK, weight_n1 in zip(*returned.values(), strict=True):
        torch.testing.assert_close((weight_n1 * logits_nK).sum(0), output_K)
