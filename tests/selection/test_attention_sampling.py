"""Attention sampling: what is drawn, and the estimate with its gradient, against sums over all possible draws."""

from functools import partial
from itertools import permutations

import pytest
import torch
from small_images import InMemory
from torch.nn.functional import softmax

from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from selection.attention_sampling import AttentionSampling, SampledPlaces
from set_module.lazy_images import LazyImages
from set_module.reduce import set_mean
from set_module.reduce_pool import ReducePool
from set_module.set_batch import SetBatch

IMAGES = torch.randint(256, (5, 2, 17, 23), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
INDEX = torch.tensor([3, 14, 15, 92, 65])
FACTS = {"channels": 2, "image_size": [17, 23], "mean": [0.5], "std": [0.25]}


def sampling(count=(1, 4), seed=0, **settings) -> AttentionSampling:
    torch.manual_seed(0)
    selection = AttentionSampling(6, count, seed, **FACTS, **{"scale": 2, "widths": [8], **settings})
    torch.nn.init.normal_(selection.map[-1].weight)
    return selection


def drawn(order, log_attention, unbiased=True) -> SampledPlaces:
    """Return a draw of one image as the selection makes it without `apart`."""
    order_M = torch.tensor(order)
    corners = SetBatch(torch.stack([order_M, order_M], dim=1), [len(order)])
    log_BM = log_attention[None, order_M]
    return SampledPlaces.of_draws(corners, log_BM, log_BM.exp(), unbiased)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_estimate_and_its_gradient_are_unbiased(number):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(4, generator=generator, dtype=torch.double, requires_grad=True)
    features = torch.randn(4, 3, generator=generator, dtype=torch.double, requires_grad=True)
    weights = torch.randn(3, generator=generator, dtype=torch.double)

    expected = softmax(scores, 0) @ features
    expected_gradients = torch.autograd.grad(expected @ weights, [scores, features])

    mean, gradients, total = 0.0, [0.0, 0.0], 0.0
    attention = softmax(scores, 0).tolist()
    for order in permutations(range(4), number):
        probability, left = 1.0, 1.0
        for place in order:
            probability, left = probability * attention[place] / left, left - attention[place]
        places = drawn(order, scores.log_softmax(0))
        estimate = set_mean(places.weighed(places.with_values(features[list(order)])))[0]
        found = torch.autograd.grad(estimate @ weights, [scores, features])
        mean = mean + probability * estimate.detach()
        gradients = [one + probability * other for one, other in zip(gradients, found, strict=True)]
        total += probability
    assert total == pytest.approx(1)
    torch.testing.assert_close(mean, expected.detach())
    torch.testing.assert_close(gradients[0], expected_gradients[0])
    torch.testing.assert_close(gradients[1], expected_gradients[1])


def test_the_biased_estimate_is_the_mean_by_the_attention_among_the_chosen():
    log_attention = torch.randn(6, dtype=torch.double).log_softmax(0).requires_grad_()
    features = torch.randn(3, 2, dtype=torch.double)
    places = drawn([4, 0, 3], log_attention, unbiased=False)
    found = set_mean(places.weighed(places.with_values(features)))[0]
    torch.testing.assert_close(found, softmax(log_attention[[4, 0, 3]], 0) @ features)
    two = places.with_values(features).prefix(2)
    found = set_mean(places.weighed(two))[0]
    torch.testing.assert_close(found, softmax(log_attention[[4, 0]], 0) @ features[:2])


def test_places_are_drawn_without_replacement_from_the_attention():
    selection = sampling(count=2, stride=8).train()
    images = IMAGES[:1].expand(6000, -1, -1, -1)
    corners = selection.candidates(images[:1])
    attention = softmax(selection.eval().scores(images[:1], corners)[0].double(), 0)
    selection.map.eval()
    selection.training = True
    places = selection.positions(images, torch.arange(6000))
    number = (places.values[:, None] == corners.values).all(2).double().argmax(1).view(-1, 2)
    pairs = torch.bincount(number[:, 0] * len(attention) + number[:, 1], minlength=len(attention) ** 2).double()
    expected = 6000 * attention[:, None] * attention / (1 - attention[:, None])
    expected = expected.fill_diagonal_(0).flatten()
    assert pairs[expected == 0].sum() == 0
    often = expected > 5
    chi_square = ((pairs - expected) ** 2 / expected)[often].sum() / often.sum()
    assert 0.3 < chi_square < 2.0
    again = selection.positions(images[7:9], torch.arange(7, 9))
    assert torch.equal(again.values, places.values[14:18])
    selection.set_epoch(1)
    assert not torch.equal(selection.positions(images, torch.arange(6000)).values, places.values)


def test_in_evaluation_the_largest_attention_is_taken_also_of_handles_and_a_set_begins_with_the_smaller_set():
    selection = sampling(count=5).eval()
    with torch.no_grad():
        many = selection.positions(IMAGES, INDEX)
        corners = selection.candidates(IMAGES)
        scores = selection.scores(IMAGES, corners)
        for places, score, found in zip(corners, scores, many, strict=True):
            assert found.tolist() == places[score.argsort(descending=True, stable=True)[:5]].tolist()
        handles = selection.positions(LazyImages(InMemory(IMAGES), range(5)), INDEX)
        assert torch.equal(handles.values, many.values)
        torch.testing.assert_close(handles.mass, many.mass)
        selection.count = 2
        assert torch.equal(selection.positions(IMAGES, INDEX).values, many.prefix(2).values)


def test_the_score_of_a_place_is_the_mean_over_its_cells():
    selection = sampling(count=1, scale=1).eval()
    with torch.no_grad():
        corners = selection.candidates(IMAGES)  # a cell is 2 pixels, a patch 3 cells
        found = selection.scores(IMAGES, corners)
        pixels = IMAGES * selection.pixel_scale + selection.pixel_shift
        cells = selection.map(pixels)[:, 0]
    for b in range(5):
        for (y, x), score in zip((corners[b] // 2).tolist(), found[b].tolist(), strict=True):
            y, x = min(y, cells.shape[1] - 3), min(x, cells.shape[2] - 3)
            assert score == pytest.approx(float(cells[b, y : y + 3, x : x + 3].mean()), abs=1e-5)


def test_with_apart_a_place_takes_the_mass_of_those_near_it():
    selection = sampling(count=3, apart=5).eval()
    with torch.no_grad():
        places = selection.positions(IMAGES, INDEX)
        corners = selection.candidates(IMAGES)
        attention = selection.scores(IMAGES, corners).softmax(1)
    for b in range(5):
        gone = torch.zeros(attention.shape[1], dtype=torch.bool)
        for k, corner in enumerate(places[b]):
            near = ((corners[b] - corner).abs() < 5).all(1) & ~gone
            assert float(places.mass[b, k]) == pytest.approx(float(attention[b][near].sum()), rel=1e-5)
            gone |= near
    distance = (places.values.view(5, 3, 1, 2) - places.values.view(5, 1, 3, 2)).abs().amax(3)
    assert int((distance + 100 * torch.eye(3, dtype=torch.int64)).min()) >= 5


@pytest.mark.parametrize("unbiased", [True, False])
def test_the_attention_learns_where_the_class_can_be_seen(unbiased):
    labels = torch.arange(64) % 2
    images = torch.zeros(64, 2, 17, 23, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    for image, label in zip(images, labels, strict=True):  # a bright spot says where, its colour says which
        y, x = (int(torch.randint(side - 4, (1,), generator=generator)) for side in (17, 23))
        image[label, y : y + 4, x : x + 4] = 255
    torch.manual_seed(0)
    parts = {"embed": partial(MLPEmbed, widths=[16], norm=False), "pool": partial(ReducePool, reductions=["mean"])}
    counts = {"patch_size": 8, "patch_num_min": 2, "patch_num_max": 2}
    selection = partial(AttentionSampling, scale=2, widths=[8], unbiased=unbiased)
    model = PatchSet(**FACTS, **parts, **counts, num_outputs=2, seed=0, selection=selection)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(60):
        model.cutout.set_epoch(step)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    correct = (model.eval()(images).argmax(1) == labels).float().mean()
    assert float(correct) > 0.9


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"scale=0, widths=\[8\]: choose a scale >= 1 and at least one width"):
        sampling(scale=0)
    with pytest.raises(ValueError, match=r"noise=-0\.1: choose a number >= 0"):
        sampling(noise=-0.1)
