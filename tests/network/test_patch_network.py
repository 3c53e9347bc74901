"""The base class of networks of patches: three ways to cut, positions, sets that are cut already."""

from functools import partial

import pytest
import torch

from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from selection.all_places import AllPlaces
from selection.grid import Grid
from selection.random_places import RandomPlaces
from set_module.attention_pool import AttentionPool
from set_module.pma import PMA
from set_module.position import LearnedPosition, SinusoidalPosition
from set_module.reduce_pool import ReducePool
from set_module.sab import SAB
from set_module.set_batch import SetBatch
from set_module.set_network import cuts_images, takes_bags, temporary_patch_num

ONCE = partial(RandomPlaces, replace=False)  # no place twice
IMAGES = torch.randint(256, (6, 3, 16, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def build(**settings) -> PatchSet:
    torch.manual_seed(0)
    cut = {"patch_size": 5, "patch_num_min": 1, "patch_num_max": 8, "seed": 0} | settings
    data = {"channels": 3, "image_size": [16, 12], "num_outputs": 4, "mean": [0.5], "std": [0.25]}
    parts = {"embed": partial(MLPEmbed, widths=[16]), "pool": partial(ReducePool, reductions=["mean", "max"])}
    return PatchSet(**parts | data | cut).eval()


def test_images_and_the_patches_cut_from_them_have_the_same_logits():
    network = build()
    patches, corners = network.cut(IMAGES)
    assert corners is not None
    assert torch.equal(network(patches), network(IMAGES))


@pytest.mark.parametrize(("selection", "number"), [(Grid, 4 * 3), (AllPlaces, 12 * 8)])
def test_grid_and_all_say_how_many_patches_there_are(selection, number):
    network = build(selection=selection)
    assert network.cut(IMAGES)[0].lengths.tolist() == [number] * 6
    assert not hasattr(network, "patch_num")


@pytest.mark.parametrize(
    ("recorded", "selection"),
    [
        ({"patch_mode": "random", "patch_replace": True}, RandomPlaces),
        ({"patch_mode": "random", "patch_replace": False}, ONCE),
        ({"patch_mode": "grid", "patch_replace": True}, Grid),
        ({"patch_mode": "all", "patch_replace": True}, AllPlaces),
    ],
)
def test_the_arguments_of_an_older_version_choose_the_same_patches(recorded, selection):
    older, network = build(**recorded), build(selection=selection)
    assert older.max_patch_num == network.max_patch_num
    assert torch.equal(older.cut(IMAGES)[1].values, network.cut(IMAGES)[1].values)
    assert build(patch_mode=None, patch_replace=True).cutout is None


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
    network = build(sets=True)
    sets = SetBatch.from_list([IMAGES[:2, :, :5, :5], IMAGES[2:3, :, :5, :5]])
    assert network(sets).shape == (2, 4)
    assert not hasattr(network, "patch_num")
    with pytest.raises(ValueError, match="the data must be sets"):
        network(IMAGES)
    with pytest.raises(ValueError, match="leave out the position"):
        build(sets=True, position=LearnedPosition)


def test_more_patches_than_places_are_refused_without_replacement():
    assert build(patch_size=11, patch_num_min=12, patch_num_max=12, selection=ONCE)(IMAGES).isfinite().all()
    with pytest.raises(ValueError, match="exceeds the 12 places"):
        build(patch_size=11, patch_num_min=12, patch_num_max=13, selection=ONCE)(IMAGES)


MEAN = partial(ReducePool, reductions=["mean"])
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


def test_gradient_times_input_of_a_linear_head_adds_up_to_the_logit():
    network = build(pool=MEAN, hidden=[], patch_num_min=1, patch_num_max=1)
    index = torch.arange(10, 16)
    logits, bias = network(IMAGES, index), network.head[-1].bias
    maps = network.evidence(IMAGES, index, LABELS)
    _, corners = network.cut(IMAGES, index)
    for map_HW, logits_K, label, (y, x) in zip(maps, logits, LABELS, corners.values.tolist(), strict=True):
        inside = map_HW[y : y + 5, x : x + 5]
        torch.testing.assert_close(inside, (logits_K[label] - bias[label]).expand(5, 5))
        assert map_HW.isnan().sum() == 16 * 12 - 5 * 5
    other = network.evidence(IMAGES, index, (LABELS + 1) % 4)
    assert not torch.allclose(maps.nan_to_num(), other.nan_to_num())


def test_behind_an_encoder_the_evidence_is_still_that_of_each_patch():
    network = build(pool=MEAN, encoder=SAB, position=SinusoidalPosition, patch_num_min=3, patch_num_max=3)
    patches, corners = network.cut(IMAGES)
    scores = network.scores(patches, corners, LABELS).values[:, 0]
    features = network._embed_each(patches, corners)
    shrunk = features.values.detach().clone()
    shrunk[4] *= 1 - 1e-3  # what the second patch of the second image says, by a small difference
    less, whole = (network.read(network.encoder(features.with_values(x))) for x in (shrunk, features.values))
    torch.testing.assert_close((whole - less)[1, LABELS[1]] / 1e-3, scores[4], rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("pool", [partial(AttentionPool, hidden=4, heads=2), partial(PMA, heads=2)])
def test_with_a_pool_that_has_weights_these_are_the_evidence(pool):
    network = build(pool=pool, selection=AllPlaces)
    patches, corners = network.cut(IMAGES)
    maps = network.evidence(IMAGES, torch.arange(6), LABELS)
    weights = network.pool.weights(network.encode(patches, corners))
    first = weights.values[weights.index == 2].mean(1)[0]  # of the patch at the corner, which alone covers its pixel
    torch.testing.assert_close(maps[2, 0, 0], first.detach())
    assert torch.equal(maps, network.evidence(IMAGES, None, LABELS))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("pool", [MEAN, partial(PMA, heads=2)])
def test_evidence_leaves_everything_as_it_was(mode, pool):
    network = build(pool=pool, dropout=0.5)
    expected = network.evidence(IMAGES, torch.arange(6), LABELS)
    before, random = {k: v.clone() for k, v in network.state_dict().items()}, torch.get_rng_state()
    with mode():
        images, labels = IMAGES + 0, LABELS + 0  # made in this mode, as batches are
        maps = network.evidence(images, torch.arange(6), labels)
    assert torch.equal(maps.isnan(), expected.isnan())
    assert torch.equal(maps.nan_to_num(), expected.nan_to_num())
    assert not maps.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    network(IMAGES).sum().backward()  # as trainable as before


def test_elements_of_sets_have_no_evidence():
    network = build()
    with pytest.raises(ValueError, match="give images"):
        network.evidence(network.cut(IMAGES)[0], None, LABELS)


def test_a_picture_may_draw_as_many_patches_as_there_are_places():
    network = build(selection=ONCE)
    assert cuts_images(network)
    assert takes_bags(build(sets=True))
    with temporary_patch_num(network, 1000):
        assert network.patch_num == (12 * 8, 12 * 8)
    assert network.patch_num == (1, 8)


def test_evaluation_draws_a_fixed_number_whose_first_patches_are_those_of_a_smaller_one():
    network, few = build(test_patch_num=8), build(test_patch_num=3)
    patches, corners = network.cut(IMAGES)
    assert patches.lengths.tolist() == [8] * 6
    assert torch.equal(corners.prefix(3).values, few.cut(IMAGES)[1].values)
    assert network.patch_num == (8, 8)
    network.patch_num = 5
    assert network.cut(IMAGES)[0].max_len == 5
    network.train()
    assert network.patch_num == (1, 8), "training keeps its range"
    assert len(set(network.cut(IMAGES)[0].lengths.tolist())) > 1


def test_without_a_number_for_the_test_it_draws_as_in_training():
    network = build()
    assert network.patch_num == (1, 8)
    assert len(set(network.cut(IMAGES)[0].lengths.tolist())) > 1


@pytest.mark.parametrize("selection", [Grid, AllPlaces, None])
def test_selections_that_fix_the_number_ignore_that_of_the_test(selection):
    assert not hasattr(build(selection=selection, test_patch_num=8), "patch_num")


@pytest.mark.parametrize("parts", [{}, {"encoder": SAB, "position": SinusoidalPosition}])
def test_logits_at_several_numbers_are_those_of_as_many_patches(parts):
    network = build(test_patch_num=8, **parts)
    logits_at = network.logits_at(IMAGES, torch.arange(3, 9), [1, 4, 8, 12])
    assert network.patch_num == (8, 8)
    assert list(logits_at) == [1, 4, 8, 12]
    for number, logits_BK in logits_at.items():
        network.patch_num = number
        torch.testing.assert_close(logits_BK, network(IMAGES, torch.arange(3, 9)))


def test_what_is_asked_for_besides_the_output_is_returned_with_it():
    plain, network = build(pool=partial(PMA, heads=2)), build(pool=partial(PMA, heads=2), returns=["weights"])
    returned = network(IMAGES)
    assert list(returned) == ["output", "weights"]
    assert torch.equal(returned["output"], plain(IMAGES))
    assert torch.equal(returned["weights"].values, plain.pool.weights(plain.encode(*plain.cut(IMAGES))).values)
    returned["weights"].values[:, 0].max().backward()
    assert network.pool.seeds_kD.grad.abs().sum() > 0, "a loss of the weights trains the pool"


def test_what_the_network_does_not_know_is_refused():
    with pytest.raises(ValueError, match=r"returns=\['weights'\]: no 'weights'; this network knows its output alone"):
        build(returns=["weights"])
    with pytest.raises(ValueError, match="no 'logits'; choose from weights"):
        build(pool=partial(PMA, heads=2), returns=["weights", "logits"])


def test_the_logits_at_several_numbers_are_outputs_alone():
    network = build(pool=partial(PMA, heads=2), returns=["weights"], test_patch_num=4)
    torch.testing.assert_close(network.logits_at(IMAGES, None, [2, 4])[4], network(IMAGES)["output"])
