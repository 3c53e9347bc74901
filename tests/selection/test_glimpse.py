"""Places that are chosen from what was seen: only from that, in order, and with a gradient to each earlier choice."""

from functools import partial

import pytest
import torch

from network.canvas import Canvas
from network.cnn import CNN
from selection import learned_places
from selection.chosen_places import ChosenPlaces, straight_through
from selection.coverage import coverage
from selection.glimpse import Glimpses
from set_module.set_batch import SetBatch

IMAGES = torch.randint(256, (6, 2, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
INDEX = torch.tensor([3, 14, 15, 92, 65, 35])
ROWS, COLUMNS = 4, 6  # of places of 4x4 patches


def glimpses(count=(1, 5), seed=0, **settings) -> Glimpses:
    torch.manual_seed(0)
    facts = {"image_size": [7, 9], "channels": 2, "mean": [0.5], "std": [0.25]}
    selection = Glimpses(size=4, count=count, seed=seed, width=16, **facts | settings).double()
    with torch.no_grad():
        selection.policy[-1].weight.mul_(20)  # else all images have nearly the same scores
    return selection


def test_in_evaluation_each_place_is_the_best_free_one_for_what_was_seen():
    selection = glimpses(count=4).eval()
    found = selection.positions(IMAGES, INDEX)
    for image, corners in zip(IMAGES, found, strict=True):
        taken: list[list[int]] = []
        for corner in corners.tolist():
            mask = torch.zeros(1, 1, 7, 9)
            for y, x in taken:
                mask[:, :, y : y + 4, x : x + 4] = 1
            order = selection.select(image[None], mask)[0].argsort(descending=True).tolist()
            free = [place for place in order if [place // COLUMNS, place % COLUMNS] not in taken]
            assert corner == [free[0] // COLUMNS, free[0] % COLUMNS]
            taken.append(corner)
    assert len({str(corners.tolist()) for corners in found}) > 1, "the places depend on the image"
    assert len({str(corners[0].tolist()) for corners in found}) == 1, "the first does not: nothing was seen"


def test_what_was_not_seen_changes_no_choice():
    selection = glimpses(count=3).eval()
    corners = selection.positions(IMAGES, INDEX)
    seen = coverage(corners.prefix(2), 4, [7, 9]).bool()
    assert torch.equal(selection.positions(torch.where(seen, IMAGES, 255 - IMAGES), INDEX).values, corners.values)


def test_a_set_begins_with_the_smaller_set():
    selection = glimpses(test_count=5).eval()
    many = selection.positions(IMAGES, INDEX)
    selection.count = 2
    assert torch.equal(selection.positions(IMAGES, INDEX).values, many.prefix(2).values)
    selection.count = 25
    with pytest.raises(ValueError, match="patch_num=25 exceeds the 24 learned places"):
        selection.positions(IMAGES, INDEX)


@pytest.mark.parametrize("training", [True, False])
def test_a_choice_depends_on_the_image_its_index_and_the_epoch_alone(training):
    selection = glimpses().train(training)
    together, order = selection.positions(IMAGES, INDEX), torch.tensor([4, 0, 5, 2, 1, 3])
    assert isinstance(together, ChosenPlaces) == training
    shuffled = selection.positions(IMAGES[order], INDEX[order])
    for i, corners in zip(order, shuffled, strict=True):
        assert torch.equal(corners, together[int(i)])
        assert torch.equal(selection.positions(IMAGES[i : i + 1], INDEX[i : i + 1]).values, corners)
    selection.set_epoch(1)
    assert torch.equal(selection.positions(IMAGES, INDEX).values, together.values) != training


def test_a_later_choice_has_a_gradient_for_an_earlier_one(monkeypatch):
    choices = []

    def kept(*scores):
        choices.append(straight_through(*scores))
        return choices[-1]

    monkeypatch.setattr(learned_places, "straight_through", kept)
    glimpses(count=3).positions(IMAGES, INDEX)
    for earlier, later in ((0, 1), (1, 2), (0, 2)):
        total = (choices[later] * torch.randn(24)).sum()
        (gradient,) = torch.autograd.grad(total, choices[earlier], retain_graph=True)
        assert gradient.abs().amax(1).min() > 0


def test_the_next_place_is_learned_from_what_was_seen():
    """The first patch shows on which side the class is; a fixed list of two places cannot know it."""
    labels, side = torch.arange(256) % 2, torch.arange(256) // 2 % 2
    images = torch.zeros(256, 1, 4, 12, dtype=torch.uint8)
    images[:, 0, 1:3, 5:7] = (side * 255).to(torch.uint8)[:, None, None]
    for i in range(256):
        column = 9 if side[i] else 1
        images[i, 0, 1:3, column : column + 2] = 60 + 190 * labels[i].to(torch.uint8)
        images[i, 0, 1:3, 10 - column : 12 - column] = 60 + 190 * (i // 4 % 2)  # tells nothing
    torch.manual_seed(0)
    facts = {"channels": 1, "image_size": [4, 12], "num_outputs": 2, "mean": [0.3], "std": [0.4], "seed": 0}
    count = {"patch_size": 4, "patch_num_min": 2, "patch_num_max": 2, "body": partial(CNN, widths=[16])}
    network = Canvas(**facts, **count, selection=partial(Glimpses, width=32, epochs=150))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
    for step in range(150):
        network.cutout.set_epoch(step)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    assert (network.eval()(images).argmax(1) == labels).float().mean() > 0.9


def test_frozen_places_are_those_of_evaluation_and_only_the_network_learns():
    torch.manual_seed(0)
    facts = {"channels": 2, "image_size": [7, 9], "num_outputs": 3, "mean": [0.5], "std": [0.25], "seed": 0}
    count = {
        "patch_size": 4,
        "patch_num_min": 1,
        "patch_num_max": 5,
        "test_patch_num": 5,
        "body": partial(CNN, widths=[8]),
    }
    network = Canvas(**facts, **count, selection=partial(Glimpses, width=16, epochs=4, freeze_at=0.5))
    selection = network.cutout
    assert isinstance(selection, Glimpses)
    learned = []
    for epoch in (1, 2):
        selection.set_epoch(epoch)
        network.zero_grad()
        network(IMAGES, INDEX).square().mean().backward()
        learned.append([weight.grad is not None for weight in selection.policy.parameters()])
        assert all(weight.grad is not None for weight in network.body.parameters())
    assert learned == [[True] * 6, [False] * 6]
    drawn = selection.positions(IMAGES, INDEX)
    assert len(set(drawn.lengths.tolist())) > 1, "as many patches are drawn as before"
    evaluated = selection.eval().positions(IMAGES, INDEX)
    for few, many in zip(drawn, evaluated, strict=True):
        assert torch.equal(few, many[: len(few)])


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match="the places are of 7x9 images"):
        glimpses().positions(torch.zeros(1, 2, 9, 9), torch.arange(1))


def test_sets_are_packed_in_the_order_of_choice():
    corners = glimpses(count=3).eval().positions(IMAGES, INDEX)
    assert isinstance(corners, SetBatch)
    assert corners.lengths.tolist() == [3] * 6
    assert corners.index.tolist() == [i for i in range(6) for _ in range(3)]


def test_the_next_place_is_the_best_one_after_those_that_were_chosen():
    selection = glimpses(count=24).eval()
    for image, corners_n2 in zip(IMAGES, selection.positions(IMAGES, INDEX), strict=True):
        for number in range(24):
            scores_RX = selection.next_scores(image, corners_n2[:number])
            assert scores_RX.shape == (ROWS, COLUMNS)
            assert divmod(int(scores_RX.argmax()), COLUMNS) == tuple(corners_n2[number].tolist())
            assert scores_RX.isinf().sum() == number
        assert selection.next_scores(image, corners_n2) is None, "all places are taken"


def test_convolutions_see_only_what_the_mask_shows():
    selection = glimpses(count=3, widths=[3, 5]).eval()
    assert [tuple(layer.weight.shape) for layer in selection.policy if hasattr(layer, "weight")] == [
        *((3, 3, 3, 3), (5, 3, 3, 3)),  # two colours and the mask
        *((16, 5 * 2 * 3), (16, 16), (24, 16)),
    ]
    corners = selection.positions(IMAGES, INDEX)
    seen = coverage(corners.prefix(2), 4, [7, 9]).bool()
    assert torch.equal(selection.positions(torch.where(seen, IMAGES, 255 - IMAGES), INDEX).values, corners.values)
