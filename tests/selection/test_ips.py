"""Iterative patch selection: the patches with the largest attention weights, whatever the chunk."""

from functools import partial

import pytest
import torch
from small_images import InMemory
from torch.nn.functional import softmax

from network.cnn_embed import CNNEmbed
from network.patch_set import PatchSet
from selection.ips import IterativeSelection
from set_module.attention_pool import AttentionPool
from set_module.lazy_images import LazyImages
from set_module.position import SinusoidalPosition
from set_module.reduce_pool import ReducePool
from set_module.sab import SAB

IMAGES = torch.randint(256, (5, 2, 17, 23), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
INDEX = torch.tensor([3, 14, 15, 92, 65])


def network(count=(1, 4), heads=1, pool=None, encoder=None, **settings) -> PatchSet:
    torch.manual_seed(0)
    facts = {"channels": 2, "image_size": [17, 23], "num_outputs": 3, "mean": [0.5], "std": [0.25], "seed": 0}
    parts = {"embed": partial(CNNEmbed, widths=[8, 8]), "position": SinusoidalPosition, "encoder": encoder}
    pool = pool or partial(AttentionPool, hidden=8, heads=heads)
    counts = {"patch_size": 6, "patch_num_min": count[0], "patch_num_max": count[1], "test_patch_num": 4}
    selection = partial(IterativeSelection, **{"stride": 3, **settings})
    return PatchSet(**facts, **parts, pool=pool, **counts, dropout=0.5, selection=selection)


@pytest.mark.parametrize("heads", [1, 3])
def test_the_places_with_the_largest_mean_weights_among_all_are_chosen(heads):
    model = network(heads=heads, chunk=10**6).eval()
    corners = model.cutout.grid.positions(IMAGES, INDEX)
    with torch.no_grad():
        features = model.encode(model.cutout.cut(IMAGES, corners), corners)
        weights = model.pool.weights(features).map(lambda weights_NH: weights_NH.mean(1))
    chosen = model.cutout.positions(IMAGES, INDEX)
    for places, weight, found in zip(corners, weights, chosen, strict=True):
        assert found.tolist() == places[weight.argsort(descending=True)[:4]].tolist()


@pytest.mark.parametrize("chunk", [1, 7, 24, 120])
@pytest.mark.parametrize("apart", [0, 4])
def test_the_choice_does_not_depend_on_the_chunk_or_on_what_holds_the_images(chunk, apart):
    whole = network(heads=2, chunk=10**6, apart=apart).double().eval().cutout.positions(IMAGES, INDEX)
    model = network(heads=2, chunk=chunk, apart=apart).double().eval()
    assert torch.equal(model.cutout.positions(IMAGES, INDEX).values, whole.values)
    reader = InMemory(IMAGES)
    assert torch.equal(model.cutout.positions(LazyImages(reader, range(5)), INDEX).values, whole.values)
    assert reader.most <= chunk
    alone = model.cutout.positions(IMAGES[2:3], INDEX[2:3])
    assert torch.equal(alone.values, whole[2])


def test_the_choice_is_made_in_evaluation_mode_and_leaves_the_network_as_it_was():
    model = network(count=(4, 4)).train()
    expected = network(count=(4, 4)).eval().cutout.positions(IMAGES, INDEX)
    model.embed.get_submodule("1.0.2").eval()  # as a user may freeze a normalisation
    modes = {name: module.training for name, module in model.named_modules()}
    state = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = model.cutout.positions(IMAGES, INDEX)
    assert torch.equal(drawn.values, expected.values)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert sum(modes.values()) > 5


def test_only_the_chosen_patches_are_embedded_with_gradients(monkeypatch):
    model, seen = network(count=(2, 2), chunk=16).train(), []
    embed = CNNEmbed.forward

    def recorded(module, patches):
        seen.append((len(patches), torch.is_grad_enabled()))
        return embed(module, patches)

    monkeypatch.setattr(CNNEmbed, "forward", recorded)
    model(IMAGES, INDEX).sum().backward()
    places = 5 * len(model.cutout.grid.positions(IMAGES[:1], INDEX[:1]).values)
    assert seen == [*[(16, False)] * (places // 16), *[(places % 16, False)] * bool(places % 16), (10, True)]
    assert all(parameter.grad is not None for parameter in model.embed.parameters())


def test_with_noise_places_are_sampled_by_their_weights_as_a_function_of_seed_epoch_and_index():
    model = network(count=(1, 1), noise=1.0, stride=8).train()
    images = IMAGES[:1].expand(4000, -1, -1, -1)
    corners = model.cutout.grid.positions(images[:1], INDEX[:1])
    scores_NH = model.attention_scores(model.cutout.cut(images[:1], corners), corners)
    drawn = model.cutout.positions(images, torch.arange(4000)).values
    counts = (drawn[:, None] == corners.values).all(2).sum(0).double()
    expected = 4000 * softmax(scores_NH[:, 0].double(), 0)
    chi_square = ((counts - expected) ** 2 / expected).sum() / (len(expected) - 1)
    assert 0.1 < chi_square < 2.5
    again = model.cutout.positions(images[10:20], torch.arange(10, 20)).values
    assert torch.equal(again, drawn[10:20])
    model.cutout.set_epoch(1)
    assert not torch.equal(model.cutout.positions(images, torch.arange(4000)).values, drawn)
    evaluated = model.eval().cutout.positions(images[:9], torch.arange(9)).prefix(1).values
    best = corners.values[scores_NH[:, 0].argmax()]
    assert (evaluated == best).all(), "no noise in evaluation"


def test_logits_of_fewer_patches_are_those_of_a_smaller_number():
    model = network().eval()
    with torch.no_grad():
        found = model.logits_at(IMAGES, INDEX, [1, 3, 4])
        for number, logits in found.items():
            model.patch_num = number
            torch.testing.assert_close(model(IMAGES, INDEX), logits)


def test_networks_without_attention_of_each_patch_are_refused():
    with pytest.raises(ValueError, match="no attention that could choose patches: choose model/pool=attention"):
        network(pool=partial(ReducePool, reductions=["mean"]))(IMAGES, INDEX)
    with pytest.raises(ValueError, match="choose model/encoder=none"):
        network(encoder=partial(SAB, heads=2))(IMAGES, INDEX)
    with pytest.raises(ValueError, match="choose model=attention_mil"):
        IterativeSelection(6, 2, 0).positions(IMAGES, INDEX)
    with pytest.raises(ValueError, match="chunk=0: choose a number of patches >= 1"):
        network(chunk=0)
    with pytest.raises(ValueError, match="noise=-1: choose a number >= 0"):
        network(noise=-1)
