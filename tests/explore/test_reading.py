"""What the page computes, against the network's own forward pass and plain loops."""

from functools import partial

import pytest
import torch

from explore import reading
from network.bag_of_patches import BagOfPatches
from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from set_module.attention_pool import AttentionPool
from set_module.position import SinusoidalPosition
from set_module.reduce_pool import ReducePool
from set_module.sab import SAB

IMAGE = torch.randint(256, (3, 16, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SEES = {"encoder": partial(SAB, heads=2), "position": SinusoidalPosition}


POOL = partial(ReducePool, reductions=["mean", "max"])


def build(kind=PatchSet, pool=POOL, **settings):
    torch.manual_seed(0)
    cut = {"patch_size": 5, "patch_num_min": 1, "patch_num_max": 8, "seed": 3}
    data = {"channels": 3, "image_size": [16, 12], "num_classes": 4, "mean": [0.5], "std": [0.25]}
    parts = {"embed": partial(MLPEmbed, widths=[16]), "pool": pool}
    return kind(**cut | data | parts | settings).eval()


def drawn(network, number=6, index=7):
    return reading.cut(network, IMAGE, reading.draw(network, IMAGE, index, number))


@pytest.mark.parametrize("settings", [{}, SEES], ids=["alone", "seeing each other"])
def test_the_set_drawn_has_the_logits_of_the_image(settings):
    network = build(**settings)
    network.patch_num = 6
    expected = network(IMAGE[None], torch.tensor([7]))
    assert torch.allclose(reading.read_sets(network, drawn(network), [range(6)]), expected, atol=1e-6)


def test_another_draw_is_another_and_the_network_stays_as_it_was():
    network = build()
    first = reading.draw(network, IMAGE, 7, 6)
    assert reading.draw(network, IMAGE, 7, 6, other=1) != first
    assert reading.draw(network, IMAGE, 7, 6) == first
    assert network.patch_num == (1, 8)


@pytest.mark.parametrize("settings", [{}, SEES], ids=["alone", "seeing each other"])
def test_leaving_one_out_is_a_loop_over_smaller_sets(settings):
    network = build(**settings)
    elements = drawn(network)
    scores = reading.left_out(network, elements, label=2)
    for i in range(6):
        keep = [j for j in range(6) if j != i]
        less = reading.Elements(elements.patches[keep], elements.corners[keep])
        whole, without = (reading.read_sets(network, e, [range(len(e))]).log_softmax(1)[0, 2] for e in (elements, less))
        assert scores[i].item() == pytest.approx((whole - without).item(), abs=1e-5)
    assert reading.left_out(network, drawn(network, 1), 2).isnan().all()


@pytest.mark.parametrize(
    ("kind", "pool"),
    [
        (PatchSet, partial(ReducePool, reductions=["mean"])),
        (PatchSet, partial(AttentionPool, hidden=8)),
        (BagOfPatches, partial(ReducePool, reductions=["mean"])),
    ],
    ids=["gradient", "weights", "votes"],
)
def test_the_map_of_the_scores_is_the_evidence_of_the_network(kind, pool):
    network = build(kind, pool)
    network.patch_num = 6
    expected = network.evidence(IMAGE[None], torch.tensor([7]), torch.tensor([1]))[0]
    elements = drawn(network)
    found = reading.over_pixels(reading.scored(network, elements, 1), elements.corners, 5, (16, 12))
    assert torch.allclose(found, expected, atol=1e-5, equal_nan=True)
    assert found.isnan().any()


def test_covering_finds_the_pixels_that_count():
    class Corner(torch.nn.Module):
        """Class 1 by how bright the upper left corner is."""

        def forward(self, images_BCHW):
            bright_B = images_BCHW[:, :, :4, :3].float().mean((1, 2, 3)) / 255
            return torch.stack([1 - bright_B, bright_B], 1)

    image = torch.zeros(1, 16, 12, dtype=torch.uint8)
    image[:, :4, :3] = 255
    fall_HW = reading.covered(Corner(), image, label=1)
    assert not fall_HW.isnan().any()
    assert fall_HW[0, 0] > 0.5
    assert fall_HW[8:, 6:].abs().max() < 1e-6
