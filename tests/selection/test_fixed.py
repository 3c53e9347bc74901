"""Learned places: the values in evaluation, the choice in training, and its gradient."""

from functools import partial

import pytest
import torch
from torch.nn.functional import one_hot, softmax

from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from selection.chosen_places import ChosenPlaces, straight_through
from selection.fixed import FixedPlaces
from set_module.position import SinusoidalPosition
from set_module.reduce_pool import ReducePool

IMAGES = torch.randint(256, (6, 2, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
ROWS, COLUMNS = 4, 6  # of places of 4x4 patches


def fixed(count=(1, 5), seed=0, **settings) -> FixedPlaces:
    selection = FixedPlaces(size=4, count=count, seed=seed, image_size=[7, 9], channels=2, **settings)
    torch.nn.init.normal_(selection.logits_KP, generator=torch.Generator().manual_seed(1))
    return selection


def test_in_evaluation_the_best_place_that_is_free_is_taken():
    selection = fixed(count=5, scale=3.0).eval()
    with torch.no_grad():
        selection.logits_KP[:] = selection.logits_KP[0] + 0.1 * selection.logits_KP  # several rows want one place
    taken = []
    for row in selection.logits_KP.tolist():
        free = [place for place in range(ROWS * COLUMNS) if place not in taken]
        taken.append(max(free, key=row.__getitem__))
    assert len({row.argmax().item() for row in selection.logits_KP}) < 5
    for corners in selection.positions(IMAGES, torch.arange(6)):
        assert corners.tolist() == [[place // COLUMNS, place % COLUMNS] for place in taken]


def test_a_set_begins_with_the_smaller_set():
    selection = fixed(test_count=5).eval()
    many = selection.positions(IMAGES, torch.arange(6))
    selection.count = 3
    assert torch.equal(selection.positions(IMAGES, torch.arange(6)).values, many.prefix(3).values)
    selection.count = 6
    with pytest.raises(ValueError, match="patch_num=6 exceeds the 5 learned places: choose <= 5"):
        selection.positions(IMAGES, torch.arange(6))


def test_in_training_a_choice_depends_on_seed_epoch_and_index_alone():
    selection, index = fixed(), torch.tensor([3, 14, 15, 92, 65, 35])
    together = selection.positions(IMAGES, index)
    assert isinstance(together, ChosenPlaces)
    assert len(set(together.lengths.tolist())) > 1
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    shuffled = selection.positions(IMAGES[order], index[order])
    for i, corners in zip(order, shuffled, strict=True):
        assert torch.equal(corners, together[int(i)])
        assert torch.equal(selection.positions(IMAGES[i : i + 1], index[i : i + 1]).values, corners)
    selection.set_epoch(1)
    assert not torch.equal(selection.positions(IMAGES, index).values[:6], together.values[:6])
    assert not torch.equal(fixed(seed=1).positions(IMAGES, index).values[:6], together.values[:6])


def test_places_are_drawn_with_the_probabilities_of_the_scores():
    selection = fixed(count=2, scale=1.0)
    images = IMAGES[:1].expand(20000, -1, -1, -1)
    y_N, x_N = selection.positions(images, torch.arange(20000)).values.unbind(1)
    for k in range(2):
        counts_P = torch.bincount((y_N * COLUMNS + x_N)[k::2], minlength=ROWS * COLUMNS).double()
        expected_P = 20000 * softmax(selection.logits_KP[k].detach().double(), 0)
        chi_square = ((counts_P - expected_P) ** 2 / expected_P).sum() / (ROWS * COLUMNS - 1)
        assert 0.3 < chi_square < 2.2


def test_the_straight_through_choice_is_hard_and_has_the_gradient_of_the_softmax():
    scores = torch.randn(5, 7, dtype=torch.double, requires_grad=True)
    weights = torch.randn(5, 7, dtype=torch.double)
    choice = straight_through(scores, 0.7)
    assert torch.equal(choice, one_hot(scores.argmax(1), 7).double())
    (found,) = torch.autograd.grad((choice * weights).sum(), scores)
    (expected,) = torch.autograd.grad(((scores / 0.7).softmax(1) * weights).sum(), scores)
    torch.testing.assert_close(found, expected)


def network(**settings) -> PatchSet:
    torch.manual_seed(0)
    facts = {"channels": 2, "image_size": [7, 9], "num_outputs": 3, "mean": [0.5], "std": [0.25], "seed": 0}
    parts = {"embed": partial(MLPEmbed, widths=[8]), "pool": partial(ReducePool, reductions=["mean", "logsumexp"])}
    count = {"patch_size": 4, "patch_num_min": 1, "patch_num_max": 5, "test_patch_num": 5}
    return PatchSet(**facts, **parts, **count, selection=FixedPlaces, **settings).double()


@pytest.mark.parametrize("position", [None, SinusoidalPosition])
def test_the_gradient_is_that_of_a_mixture_of_all_patches_at_the_chosen_one(position, monkeypatch):
    monkeypatch.setattr("selection.chosen_places.CHUNK", 1)  # image by image
    model = network(position=position)
    patches, chosen = model.cut(IMAGES, torch.arange(6))
    choice = chosen.choice.detach().double().requires_grad_()
    chosen.choice = choice
    weights = torch.randn(6, 3, dtype=torch.double)
    output = model.read(model.encode(patches, chosen))
    (found,) = torch.autograd.grad((output * weights).sum(), choice)

    normalize, embedding = model.embed
    mixture = one_hot(chosen.values[:, 0] * COLUMNS + chosen.values[:, 1], ROWS * COLUMNS).double().requires_grad_()
    every = normalize(IMAGES).unfold(2, 4, 1).unfold(3, 4, 1).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
    mixed = torch.einsum("np,npcij->ncij", mixture, every.index_select(0, chosen.index))
    features = embedding(mixed)
    if position:
        corners = torch.cartesian_prod(torch.arange(ROWS), torch.arange(COLUMNS))
        features = features + mixture @ model.position(corners).double()
    expected_output = model.read(patches.with_values(features))
    torch.testing.assert_close(output, expected_output)
    (expected,) = torch.autograd.grad((expected_output * weights).sum(), mixture)
    torch.testing.assert_close(found, expected)


def test_the_network_learns_where_the_class_can_be_seen():
    labels = torch.arange(128) % 2
    images = torch.zeros(128, 1, 7, 9, dtype=torch.uint8)
    images[:, :, 3:5, 4:6] = labels[:, None, None, None].to(torch.uint8) * 255
    torch.manual_seed(0)
    facts = {"channels": 1, "image_size": [7, 9], "num_outputs": 2, "mean": [0.5], "std": [0.25], "seed": 0}
    parts = {"embed": partial(MLPEmbed, widths=[16], norm=False), "pool": partial(ReducePool, reductions=["mean"])}
    count = {"patch_size": 2, "patch_num_min": 1, "patch_num_max": 1}
    model = PatchSet(**facts, **parts, **count, selection=FixedPlaces)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(40):
        model.cutout.set_epoch(step)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    ((y, x),) = model.cutout.order().tolist()
    assert 2 <= y <= 4
    assert 3 <= x <= 5
    assert (model.eval()(images).argmax(1) == labels).all()


def test_the_temperature_falls_from_the_first_to_the_last_epoch():
    selection, found = fixed(temperature=(1.0, 0.25), epochs=3), []
    for epoch in range(4):
        selection.set_epoch(epoch)
        found.append(selection.present_temperature)
    assert found == pytest.approx([1.0, 0.5, 0.25, 0.25])


def test_the_temperature_has_fallen_when_places_are_frozen():
    selection, found = fixed(temperature=(1.0, 0.25), epochs=6, freeze_at=0.5), []
    for epoch in range(3):
        selection.set_epoch(epoch)
        found.append(selection.present_temperature)
    assert found == pytest.approx([1.0, 0.5, 0.25])


@pytest.mark.parametrize(
    ("epochs", "freeze_at", "learning"), [(4, 0.5, 2), (10, 0.3, 3), (1, 0.5, 1), (9, 0.01, 1), (4, None, 8)]
)
def test_places_are_learned_in_the_first_share_of_the_epochs(epochs, freeze_at, learning):
    selection, index = fixed(epochs=epochs, freeze_at=freeze_at), torch.arange(6)
    evaluated = selection.eval().order()
    selection.train()
    for epoch in range(8):
        selection.set_epoch(epoch)
        corners = selection.positions(IMAGES, index)
        assert isinstance(corners, ChosenPlaces) == (epoch < learning)
        if epoch >= learning:
            assert all(torch.equal(each, evaluated[: len(each)]) for each in corners)
            assert len(set(corners.lengths.tolist())) > 1, "as many patches are drawn as before"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze_at": 0.0}, "freeze_at=0.0: choose a share of the epochs between 0 and 1"),
        ({"freeze_at": 1}, "freeze_at=1: choose a share of the epochs between 0 and 1"),
        ({"temperature": (1.0, 0.0)}, "give two numbers > 0"),
        ({"count": 25}, "patch_num=25 exceeds the 24 places"),
        ({"count": (1, 4), "test_count": 30}, "patch_num=30 exceeds the 24 places"),
    ],
)
def test_what_cannot_be_learned_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        fixed(**settings)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match="the places are of 7x9 images"):
        fixed().positions(torch.zeros(1, 2, 9, 9), torch.arange(1))


def test_the_next_place_is_the_best_one_of_the_next_row():
    selection = fixed(count=5, scale=3.0).eval()
    corners_52 = selection.positions(IMAGES[:1], torch.arange(1)).values
    for number in range(5):
        scores_RX = selection.next_scores(IMAGES[0], corners_52[:number])
        assert divmod(int(scores_RX.argmax()), COLUMNS) == tuple(corners_52[number].tolist())
        known = scores_RX.isfinite()
        expected_RX = 3 * selection.logits_KP[number].view(ROWS, COLUMNS)
        torch.testing.assert_close(scores_RX[known], expected_RX[known])
        assert (~known).sum() == number
    assert selection.next_scores(IMAGES[0], corners_52) is None, "the table has no sixth row"
