"""Moved digits: each pixel is where its description says, and each part draws from its own images of MNIST."""

import pytest
import torch
from tiny_mnist import write_mnist

from datamodule.moved_digits import MovedDigits
from process.errors import UserError

# the label of image i of the tiny MNIST is i % 10


@pytest.fixture
def build(tmp_path, settings):
    write_mnist(tmp_path, train=60, test=30)
    facts = {"root": str(tmp_path), "image_size": [33, 41], "num_classes": 10, "valid": 20}
    drawn = {"pieces": 2, "piece_size": 8, "steps_per_epoch": 3, "valid_images": 100, "test_images": 50}
    return lambda **changes: MovedDigits(**settings | facts | drawn | changes)


def described(data, part, count=200):
    """Return the descriptions, the labels and the images of a draw."""
    generator = torch.Generator().manual_seed(0)
    sets, labels = data.draw(generator, torch.ones(count, dtype=torch.int64), part)
    return sets.values, labels, data.table(sets, labels, part).images_NCHW


@pytest.mark.parametrize("part", ["train", "test"])
def test_each_pixel_is_the_brightest_of_digit_and_pieces_where_the_description_says(build, part):
    data = build()
    mnist = data.images.source(part).images_NCHW[:, 0]
    for recipe, label, image in zip(*described(data, part, 20), strict=True):
        number, y, x, *pieces = recipe.tolist()
        expected = torch.zeros(33, 41, dtype=torch.uint8)
        expected[y : y + 28, x : x + 28] = mnist[number]
        for first in (0, 5):
            number, top, left, y, x = pieces[first : first + 5]
            square = mnist[number, top : top + 8, left : left + 8]
            expected[y : y + 8, x : x + 8] = expected[y : y + 8, x : x + 8].maximum(square)
        assert torch.equal(image[0], expected)
        assert int(label) == recipe[0] % 10


def test_every_place_and_every_square_is_drawn(build):
    recipe, _, _ = described(build(), "train", 4000)
    columns = {1: 6, 2: 14, 4: 21, 5: 21, 6: 26, 7: 34, 9: 21, 10: 21, 11: 26, 12: 34}
    for column, number in columns.items():
        assert set(recipe[:, column].tolist()) == set(range(number))


def test_validation_and_test_have_images_of_their_own_and_are_always_the_same(build):
    data = build()
    used = {}
    for part in ("train", "valid", "test"):
        recipe, _, _ = described(data, part, 2000)
        used[part] = {int(number) for column in (0, 3, 8) for number in recipe[:, column]}
    assert used["train"].isdisjoint(used["valid"])
    assert used["train"] | used["valid"] == set(range(60))
    assert used["test"] == set(range(30))
    for part in ("valid", "test"):
        first, other = data.source(part), build(seed=7).source(part)
        assert torch.equal(first.images_NCHW, other.images_NCHW)
        assert first.images_NCHW.flatten(1).unique(dim=0).shape[0] == len(first)


def test_training_images_are_a_function_of_seed_and_step(build):
    batches = list(build(batch_size=16).train_dataloader())
    again = list(build(batch_size=16).train_dataloader())
    assert len(batches) == 3
    assert batches[0][0].shape == (16, 1, 33, 41)
    for (images, labels, index), others in zip(batches, again, strict=True):
        assert torch.equal(images, others[0])
        assert torch.equal(labels, others[1])
        assert torch.equal(index, others[2])
    assert not torch.equal(batches[0][0], batches[1][0])
    assert not torch.equal(next(iter(build(batch_size=16, seed=1).train_dataloader()))[0], batches[0][0])


def test_without_pieces_there_is_the_digit_alone(build):
    recipe, _, images = described(build(pieces=0), "test", 10)
    assert recipe.shape == (10, 3)
    assert images.sum() > 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image_size": [27, 40]}, "a digit needs at least 28 pixels a side"),
        ({"piece_size": 29}, "data.piece_size=29: choose 1 to 28"),
    ],
)
def test_what_has_no_room_is_refused(build, changed, message):
    with pytest.raises(UserError, match=message):
        build(**changed)
