"""Places that are learned by a reader: what it sees, what it teaches, and what the body learns beside it."""

from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy

from network.canvas import Canvas
from network.cnn import CNN
from selection.coverage import coverage
from selection.fixed import FixedPlaces
from selection.glimpse import Glimpses
from selection.learned_places import LearnedPlaces

IMAGES = torch.randint(256, (6, 2, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
INDEX, TARGETS = torch.tensor([3, 14, 15, 92, 65, 35]), torch.tensor([0, 1, 2, 2, 1, 0])
KINDS = [partial(FixedPlaces, scale=3.0), Glimpses]


def canvas(kind, **settings) -> Canvas:
    torch.manual_seed(0)
    facts = {"channels": 2, "image_size": [7, 9], "num_outputs": 3, "mean": [0.4], "std": [0.25], "seed": 0}
    count = {"patch_size": 4, "patch_num_min": 2, "patch_num_max": 5, "body": partial(CNN, widths=[6, 8])}
    selection = partial(kind, **{"read": True, "width": 16} | settings)
    network = Canvas(**facts, **count, selection=selection).double()
    if kind is not Glimpses:
        torch.nn.init.normal_(network.cutout.logits_KP)
    return network


def selection(network: Canvas) -> LearnedPlaces:
    assert isinstance(network.cutout, LearnedPlaces)
    return network.cutout


@pytest.mark.parametrize("kind", KINDS)
def test_the_reader_answers_after_each_patch_from_what_these_have_shown(kind):
    places = selection(canvas(kind))
    loss, masks = places.training_loss(IMAGES, TARGETS, INDEX, cross_entropy)
    corners = places.positions(IMAGES, INDEX)  # n of the 5, drawn with the same noise
    expected = []
    for k in range(5):
        features = places.features(places.normalised(IMAGES), masks[:, k : k + 1])
        expected.append(cross_entropy(places.reader(features), TARGETS))
        longer = (corners.lengths > k).nonzero()[:, 0]
        assert torch.equal(masks[longer, k : k + 1], coverage(corners.prefix(k + 1), 4, [7, 9])[longer].double())
    torch.testing.assert_close(loss, torch.stack(expected).mean())
    assert len(set(corners.lengths.tolist())) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_the_body_at_the_drawn_numbers_and_of_the_reader(kind):
    network = canvas(kind)
    outputs, loss = network.training_loss(IMAGES, TARGETS, INDEX, cross_entropy)
    expected = network.paint(IMAGES, coverage(selection(network).positions(IMAGES, INDEX), 4, [7, 9]))
    torch.testing.assert_close(outputs, expected)
    of_reader, _ = selection(network).training_loss(IMAGES, TARGETS, INDEX, cross_entropy)
    torch.testing.assert_close(loss, cross_entropy(expected, TARGETS) + of_reader)


@pytest.mark.parametrize("kind", KINDS)
def test_the_places_have_no_gradient_of_the_body(kind):
    network = canvas(kind)
    network.training_loss(IMAGES, TARGETS, INDEX, cross_entropy)[1].backward()
    found = {name: weight.grad.clone() for name, weight in selection(network).named_parameters()}
    network.zero_grad()
    selection(network).training_loss(IMAGES, TARGETS, INDEX, cross_entropy)[0].backward()
    for name, weight in selection(network).named_parameters():
        assert weight.grad.abs().max() > 0
        torch.testing.assert_close(found[name], weight.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_places_have_no_loss_of_a_reader(kind):
    network = canvas(kind, epochs=2, freeze_at=0.5)
    selection(network).set_epoch(1)
    outputs, loss = network.training_loss(IMAGES, TARGETS, INDEX, cross_entropy)
    torch.testing.assert_close(loss, cross_entropy(outputs, TARGETS))
    loss.backward()
    assert all(weight.grad is None for weight in selection(network).parameters())


def test_a_network_without_a_reader_has_the_loss_of_its_outputs():
    network = canvas(FixedPlaces, read=False)
    outputs, loss = network.training_loss(IMAGES, TARGETS, INDEX, cross_entropy)
    torch.testing.assert_close(loss, cross_entropy(outputs, TARGETS))
    loss.backward()
    assert network.cutout.logits_KP.grad.abs().max() > 0, "the places learn from the body"


def test_fixed_places_learn_by_a_reader_where_the_class_is_seen():
    labels = torch.arange(64) % 3
    images = torch.randint(100, (64, 2, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images[:, :, 5, 7] = (labels * 120).to(torch.uint8)[:, None]
    network = canvas(FixedPlaces, width=32).float()
    torch.nn.init.zeros_(network.cutout.logits_KP)
    optimizer = torch.optim.Adam(selection(network).parameters(), lr=0.01)
    for step in range(60):
        selection(network).set_epoch(step)
        optimizer.zero_grad()
        selection(network).training_loss(images, labels, torch.arange(64), cross_entropy)[0].backward()
        optimizer.step()
    row, column = selection(network).eval().positions(images[:1], torch.arange(1)).values[0].tolist()
    assert row <= 5 < row + 4
    assert column <= 7 < column + 4
