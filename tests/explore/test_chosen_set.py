"""The chosen set, its logits and scores, against the network's own forward pass and plain loops."""

from functools import partial

import pytest
import torch

from explore.chosen_set import (
    ChosenSet,
    Elements,
    cut,
    draw_corners,
    leave_one_out,
    logits_of_sets,
    network_scores,
    occlusion_map,
    score_map,
)
from network.bag_of_patches import BagOfPatches
from network.canvas import Canvas
from network.cnn import CNN
from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from set_module.attention_pool import AttentionPool
from set_module.position import SinusoidalPosition
from set_module.reduce_pool import ReducePool
from set_module.sab import SAB
from set_module.set_batch import SetBatch

DRAWN = [(0, 0), (0, 5), (10, 10)]


def test_a_shuffled_set_is_the_same_set():
    chosen = ChosenSet(DRAWN, added=[(3, 3)], out={1})
    before = chosen.inside()
    chosen.shuffles = 1
    assert chosen.inside() != before
    assert sorted(chosen.inside()) == sorted(before)
    assert chosen.corner(-1) == (3, 3)


def test_the_last_element_stays_in():
    chosen = ChosenSet(DRAWN)
    assert chosen.toggle(0)
    assert chosen.toggle(1)
    assert not chosen.toggle(2)
    assert chosen.inside() == [2]
    assert chosen.toggle(0)
    assert chosen.inside() == [0, 2]


def test_what_was_clicked_stays_when_others_are_drawn():
    chosen = ChosenSet(DRAWN, added=[(3, 3)], out={0, 2})
    chosen.redraw([(0, 0), (0, 5)])
    assert chosen.inside() == [1, -1]
    chosen.redraw(DRAWN)
    assert chosen.inside() == [1, 2, -1]


def test_a_draw_of_which_all_would_be_out_is_in():
    chosen = ChosenSet(DRAWN, out={0, 1})
    chosen.redraw(DRAWN[:1])
    assert chosen.inside() == [0]


@pytest.mark.parametrize(("at", "number"), [((1.5, 1.5), 0), ((1.5, 6.5), 1), ((1.5, 4.0), 0), ((8.0, 8.0), None)])
def test_a_click_finds_the_patch_whose_centre_is_nearest(at, number):
    assert ChosenSet(DRAWN).patch_at(*at, patch_size=4) == number


def test_a_patch_that_is_out_is_not_found():
    assert ChosenSet(DRAWN, out={0}).patch_at(1.5, 1.5, 4) is None
    assert ChosenSet(DRAWN, out={0}).patch_at(1.5, 1.5, 4, out=True) == 0
    assert ChosenSet(DRAWN).patch_at(1.5, 1.5, 4, out=True) is None


@pytest.mark.parametrize(("at", "corner"), [((6.0, 6.0), (4, 4)), ((0.1, 11.9), (0, 8))])
def test_a_patch_is_put_in_around_the_click_and_within_the_image(at, corner):
    chosen = ChosenSet(DRAWN)
    chosen.add_patch(*at, 4, (12, 12))
    assert chosen.corner(chosen.inside()[-1]) == corner


IMAGE = torch.randint(256, (3, 16, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SEES = {"encoder": partial(SAB, heads=2), "position": SinusoidalPosition}


POOL = partial(ReducePool, reductions=["mean", "max"])


def build(kind=PatchSet, pool=POOL, **settings):
    torch.manual_seed(0)
    cut = {"patch_size": 5, "patch_num_min": 1, "patch_num_max": 8, "seed": 3}
    data = {"channels": 3, "image_size": [16, 12], "num_outputs": 4, "mean": [0.5], "std": [0.25]}
    parts = {"embed": partial(MLPEmbed, widths=[16]), "pool": pool}
    return kind(**cut | data | parts | settings).eval()


def drawn(network, number=6, index=7):
    return cut(network, IMAGE, draw_corners(network, IMAGE, index, number))


@pytest.mark.parametrize("settings", [{}, SEES], ids=["alone", "seeing each other"])
def test_the_set_drawn_has_the_logits_of_the_image(settings):
    network = build(**settings)
    network.patch_num = 6
    expected = network(IMAGE[None], torch.tensor([7]))
    assert torch.allclose(logits_of_sets(network, drawn(network), [range(6)]), expected, atol=1e-6)


def test_another_draw_is_another_and_the_network_stays_as_it_was():
    network = build()
    first = draw_corners(network, IMAGE, 7, 6)
    assert draw_corners(network, IMAGE, 7, 6, redraws=1) != first
    assert draw_corners(network, IMAGE, 7, 6) == first
    assert network.patch_num == (1, 8)


@pytest.mark.parametrize("settings", [{}, SEES], ids=["alone", "seeing each other"])
def test_leaving_one_out_is_a_loop_over_smaller_sets(settings):
    network = build(**settings)
    elements = drawn(network)
    scores = leave_one_out(network, elements, label=2)
    for i in range(6):
        keep = [j for j in range(6) if j != i]
        less = Elements(elements.patches[keep], elements.corners[keep])
        whole, without = (logits_of_sets(network, e, [range(len(e))]).log_softmax(1)[0, 2] for e in (elements, less))
        assert scores[i].item() == pytest.approx((whole - without).item(), abs=1e-5)
    assert leave_one_out(network, drawn(network, 1), 2).isnan().all()


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
    found = score_map(network_scores(network, elements, 1), elements.corners, 5, (16, 12))
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
    fall_HW = occlusion_map(Corner(), image, label=1)
    assert not fall_HW.isnan().any()
    assert fall_HW[0, 0] > 0.5
    assert fall_HW[8:, 6:].abs().max() < 1e-6


def test_patches_that_a_network_pastes_are_chosen_like_those_that_it_cuts():
    torch.manual_seed(0)
    facts = {"channels": 1, "image_size": [8, 8], "num_outputs": 3, "mean": [0.5], "std": [0.5]}
    canvas = Canvas(
        **facts, patch_size=3, patch_num_min=4, patch_num_max=4, seed=0, body=partial(CNN, widths=[4])
    ).eval()
    image = torch.randint(256, (1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    corners = draw_corners(canvas, image, 7, 4)
    elements, sets = cut(canvas, image, corners), [[0, 1, 2, 3], [2], [3, 0]]
    found = logits_of_sets(canvas, elements, sets)
    torch.testing.assert_close(found[:1], canvas(image[None], torch.tensor([7])))
    for logits_K, members in zip(found, sets, strict=True):
        alone = SetBatch(torch.tensor([corners[place] for place in members]), [len(members)])
        torch.testing.assert_close(logits_K, canvas.read(image[None], alone)[0])
    log_probability_S = logits_of_sets(canvas, elements, [range(4), range(1, 4)]).log_softmax(1)[:, 1]
    torch.testing.assert_close(leave_one_out(canvas, elements, 1)[0], log_probability_S[0] - log_probability_S[1])
