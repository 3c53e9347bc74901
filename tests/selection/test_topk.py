"""Perturbed top-k: its value and gradient by the formula, and the blended patches that a network sees."""

import math
from functools import partial

import pytest
import torch
from small_images import InMemory

from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from selection.topk import BlendedPlaces, PerturbedTopK, perturbed_top_k
from set_module.lazy_images import LazyImages
from set_module.position import SinusoidalPosition
from set_module.reduce_pool import ReducePool

IMAGES = torch.randint(256, (5, 2, 17, 23), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
INDEX = torch.tensor([3, 14, 15, 92, 65])
FACTS = {"channels": 2, "image_size": [17, 23], "mean": [0.5], "std": [0.25]}


def topk(count=(1, 4), seed=0, **settings) -> PerturbedTopK:
    torch.manual_seed(0)
    return PerturbedTopK(6, count, seed, **FACTS, **{"scale": 2, "widths": [8], "samples": 20, **settings})


def test_shares_and_their_gradient_are_those_of_the_formula():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 6, generator=generator, dtype=torch.double, requires_grad=True)
    noise = torch.randn(2, 9, 6, generator=generator, dtype=torch.double)
    weights = torch.randn(2, 3, 6, generator=generator, dtype=torch.double)
    shares = perturbed_top_k(scores, noise, 0.7, 3)
    (found,) = torch.autograd.grad((shares * weights).sum(), scores)
    expected, gradient = torch.zeros(2, 3, 6, dtype=torch.double), torch.zeros(2, 6, dtype=torch.double)
    for b in range(2):
        for z in noise[b]:
            choice = torch.zeros(3, 6, dtype=torch.double)
            for m, place in enumerate((scores[b] + 0.7 * z).argsort(descending=True)[:3]):
                choice[m, place] = 1
            expected[b] += choice / 9
            gradient[b] += (choice * weights[b]).sum() * z / (0.7 * 9)
    torch.testing.assert_close(shares, expected)
    torch.testing.assert_close(found, gradient)


def test_of_two_places_the_share_is_the_probability_that_one_is_better():
    scores = torch.tensor([[0.3, 0.0]], dtype=torch.double, requires_grad=True)
    noise = torch.randn(1, 400_000, 2, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    share = perturbed_top_k(scores, noise, 0.5, 1)[0, 0, 0]
    z = 0.3 / (0.5 * math.sqrt(2))
    assert float(share.detach()) == pytest.approx(0.5 * (1 + math.erf(z / math.sqrt(2))), abs=0.005)
    (found,) = torch.autograd.grad(share, scores)
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) / (0.5 * math.sqrt(2))
    assert found[0].tolist() == pytest.approx([density, -density], abs=0.01)


def network(**settings) -> PatchSet:
    torch.manual_seed(0)
    parts = {"embed": partial(MLPEmbed, widths=[8]), "pool": partial(ReducePool, reductions=["mean", "logsumexp"])}
    counts = {"patch_size": 6, "patch_num_min": 1, "patch_num_max": 3, "test_patch_num": 3}
    selection = partial(PerturbedTopK, **{"scale": 2, "widths": [8], "samples": 20, **settings})
    return PatchSet(**FACTS, **parts, **counts, num_outputs=3, seed=0, position=SinusoidalPosition, selection=selection)


@pytest.mark.parametrize("lazy", [False, True])
def test_the_network_sees_blends_of_the_places_that_are_best_with_noise(lazy):
    model = network().double().train()
    model.cutout.map.eval()
    images = LazyImages(InMemory(IMAGES), range(5)) if lazy else IMAGES
    patches, corners = model.cut(images, INDEX)
    assert isinstance(corners, BlendedPlaces)
    found = model.read(model.encode(patches, corners))
    assert torch.equal(found, model(images, INDEX))

    lengths = model.cutout.drawn_lengths(INDEX)[0].tolist()
    assert len(set(lengths)) > 1
    candidates = model.cutout.candidates(IMAGES)
    every = model.cutout.cut(IMAGES, candidates)
    normalize, embedding = model.embed
    for b, length in enumerate(lengths):
        where = (candidates[b][:, None] == corners[b]).all(2).double()  # [P, S]
        shares = corners.share[b, :length, : len(corners[b])] @ where.T
        torch.testing.assert_close(shares.sum(1), torch.ones(length, dtype=torch.double))
        assert (shares.sum(0)[where.sum(1) > 0] > 0).all(), "nothing is read that has no share"
        blends = torch.einsum("mp,pcij->mcij", shares, normalize(every[b]))
        features = embedding(blends) + shares @ model.position(candidates[b]).double()
        alone = every[[b]].with_values(every[b])  # one set, of which only the sizes are used
        sets = type(alone)(features, [length])
        torch.testing.assert_close(model.read(sets)[0], found[b])


def test_the_gradient_reaches_the_thumbnail():
    model = network()
    model(IMAGES, INDEX).square().sum().backward()
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in model.cutout.map[0].parameters())


def test_the_choice_depends_on_seed_epoch_and_index_alone():
    selection = topk(count=3)
    selection.map.eval()
    together = selection.positions(IMAGES, INDEX)
    for b in range(5):
        alone = selection.positions(IMAGES[b : b + 1], INDEX[b : b + 1])
        assert torch.equal(alone.values, together[b])
        torch.testing.assert_close(alone.share[0], together.share[b, :, : len(alone.values)])
    selection.set_epoch(0)
    other = topk(count=3, seed=1)
    other.map.eval()
    assert other.positions(IMAGES, INDEX).share.shape != together.share.shape or not torch.equal(
        other.positions(IMAGES, INDEX).share, together.share
    )


def test_sigma_falls_linearly_and_evaluation_has_no_noise():
    selection, found = topk(sigma=0.4, epochs=4, count=4), []
    for epoch in range(5):
        selection.set_epoch(epoch)
        found.append(selection.present_sigma)
    assert found == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.05])
    selection.eval()
    many = selection.positions(IMAGES, INDEX)
    assert not isinstance(many, BlendedPlaces)
    candidates = selection.candidates(IMAGES)
    with torch.no_grad():
        scores = selection.scores(IMAGES, candidates)
    for places, score, chosen in zip(candidates, scores, many, strict=True):
        assert chosen.tolist() == places[score.argsort(descending=True, stable=True)[:4]].tolist()
    selection.count = 2
    assert torch.equal(selection.positions(IMAGES, INDEX).values, many.prefix(2).values)


def test_what_cannot_be_perturbed_is_refused():
    with pytest.raises(ValueError, match=r"samples=0, sigma=0\.05: choose numbers > 0"):
        topk(samples=0)
