from functools import partial

import pytest
import torch
from given_logits import noise, shown_in_test
from torch import nn

from figure import order_of_looking
from figure.order_of_looking import OrderOfLooking
from network.canvas import Canvas
from network.cnn import CNN
from selection.fixed import FixedPlaces
from selection.glimpse import Glimpses
from selection.grid import Grid
from selection.random_places import RandomPlaces

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")
IMAGES = noise(9, 1, 8, 8)
LOGITS, LABELS = torch.zeros(9, 4), torch.arange(9) % 4


def canvas(selection, most=3):
    torch.manual_seed(0)
    data = {"channels": 1, "image_size": [8, 8], "num_outputs": 4, "mean": [0.5], "std": [0.25]}
    patches = {"patch_size": 3, "patch_num_min": 1, "patch_num_max": most, "test_patch_num": most, "seed": 0}
    network = Canvas(**data, **patches, selection=selection, body=partial(CNN, widths=[4]))
    for parameter in network.cutout.parameters():
        torch.nn.init.normal_(parameter)  # the choice shall differ from image to image
    return network


@pytest.mark.parametrize("selection", [Glimpses, FixedPlaces])
def test_each_tile_shows_the_patches_so_far_the_next_place_and_the_answer(selection, tmp_path, monkeypatch):
    network, tiles, answers = canvas(selection), [], []
    seen_part, answer = order_of_looking.seen_part, order_of_looking._answer
    monkeypatch.setattr(order_of_looking, "seen_part", lambda *a: tiles.append(a) or seen_part(*a))
    monkeypatch.setattr(order_of_looking, "_answer", lambda *a: answers.append(a) or answer(*a))
    shown = shown_in_test(OrderOfLooking(2, 8), tmp_path, LOGITS, LABELS, IMAGES, network, batch_size=9)
    assert shown == ["order_of_looking_at_0.png"]
    network.eval()
    corners = network.cutout.positions(IMAGES[:2], torch.arange(2))
    assert len(tiles) == 2 * 4
    assert len(answers) == 2 * 3
    for image in range(2):
        for number in range(4):
            _, seen, size, _, scores_RX = tiles[image * 4 + number]
            assert (seen, size) == (corners[image][:number].tolist(), 3)
            if number == 3:
                assert scores_RX is None, "no patch follows the last one"
            else:
                assert divmod(int(scores_RX.argmax()), 6) == tuple(corners[image][number].tolist())
        for number in (1, 2, 3):
            network.patch_num = number
            probability_K, names, label = answers[image * 3 + number - 1]
            expected_BK = network(IMAGES[:2], torch.arange(2)).softmax(1)
            torch.testing.assert_close(probability_K, expected_BK[image])
            assert (names[label], label) == (f"class {label}", int(LABELS[image]))


def test_of_many_patches_a_few_numbers_are_shown(tmp_path, monkeypatch):
    seen, seen_part = [], order_of_looking.seen_part
    monkeypatch.setattr(order_of_looking, "seen_part", lambda *a: seen.append(len(a[1])) or seen_part(*a))
    assert shown_in_test(OrderOfLooking(1, 4), tmp_path, LOGITS, LABELS, IMAGES, canvas(FixedPlaces, most=10))
    assert seen == [0, 2, 5, 7, 10]


@pytest.mark.parametrize("other", [None, nn.Linear(1, 1), canvas(RandomPlaces), canvas(Grid)])
def test_without_a_learned_order_there_is_no_figure(tmp_path, caplog, other):
    assert shown_in_test(OrderOfLooking(2, 8), tmp_path, LOGITS, LABELS, IMAGES, other) == []
    assert "no picture" not in caplog.text


@pytest.mark.parametrize(
    ("numbers", "words"), [((0, 8), "order_of_looking.count=0"), ((1, 0), "order_of_looking.steps=0")]
)
def test_numbers_below_one_are_refused(numbers, words):
    with pytest.raises(ValueError, match=f"{words}: choose >= 1, or order_of_looking=null"):
        OrderOfLooking(*numbers)
