import pytest
import torch
from tiny_mnist import write_mnist

from datamodule.megapixel_mnist import DIGITS, PATTERNS, SIDE, MegapixelMNIST, draw_noise, patterns
from process.errors import UserError
from set_module.set_batch import SetBatch

# the label of image i of the tiny MNIST is i % 10
ALL = "majority,max,top,multi"


@pytest.fixture
def build(tmp_path, settings):
    write_mnist(tmp_path, train=250, test=30)
    facts = {"root": str(tmp_path), "image_size": [150, 210], "num_classes": 10, "valid": 80}
    drawn = {"targets": ALL, "noise": 20, "lazy": False, "train_images": 300, "valid_images": 40, "test_images": 30}
    return lambda **changes: MegapixelMNIST(**settings | facts | drawn | changes)


def digits(source):
    """Return the labels and the corners of the digits of each image."""
    number = torch.from_numpy(source.images.number_NS[:, -DIGITS:]).long() - PATTERNS
    return number % 10, torch.from_numpy(source.images.corners_NS2[:, -DIGITS:]).long()


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_the_targets_are_those_of_the_digits_in_the_image(build, part):
    source = build().source(part)
    labels, corners = digits(source)
    for i, (label, corner) in enumerate(zip(labels, corners, strict=True)):
        counts = label.bincount(minlength=10)
        assert counts.max() == 3
        assert source.targets["majority"][i] == counts.argmax()
        assert source.targets["max"][i] == label.max()
        assert source.targets["top"][i] in label[corner[:, 0] == corner[:, 0].min()]
        assert source.targets["multi"][i].tolist() == [float(k in label) for k in range(10)]
    assert set(source.targets["majority"].tolist()) == set(range(10))


def test_digits_are_whole_apart_from_each_other_and_above_the_noise(build):
    source = build().source("train")
    _, corners = digits(source)
    distance = (corners[:, :, None] - corners[:, None]).abs().amax(3)
    assert int((distance + 1000 * torch.eye(DIGITS, dtype=torch.int64)).min()) == SIDE
    assert (corners >= 0).all()
    assert (corners.amax((0, 1)) == torch.tensor([150 - SIDE, 210 - SIDE])).all(), "up to the edges"
    images = source.inputs(torch.arange(20))
    assert images.shape == (20, 1, 150, 210)
    assert images.dtype == torch.uint8
    for image, stamps, places in zip(images, source.images.number_NS, source.images.corners_NS2.tolist(), strict=False):
        for number, (y, x) in list(zip(stamps, places, strict=True))[-DIGITS:]:
            assert (image[0, y : y + SIDE, x : x + SIDE].numpy() == source.images.stamps_Kss[number]).all()


def test_noise_is_drawn_uniformly_from_fifty_scribbles_away_from_the_edges():
    corners, pattern = draw_noise(400, 50, (150, 210), seed=0)
    for axis, side in enumerate((150, 210)):
        assert int(corners[..., axis].min()) == SIDE
        assert int(corners[..., axis].max()) == side - SIDE - 1
    assert set(pattern.flatten().tolist()) == set(range(PATTERNS))
    scribbles = patterns(0)
    assert scribbles.shape == (PATTERNS, SIDE, SIDE)
    drawn = scribbles[scribbles > 0]
    assert 204 <= int(drawn.min()) < 208
    assert 250 < int(drawn.max()) <= 255
    lit = (scribbles > 0).sum((1, 2))
    assert int(lit.min()) >= SIDE, "a line from edge to edge"
    assert int(lit.max()) <= 2 * 2 * SIDE


def test_an_image_depends_on_its_number_and_the_split_seed_alone(build):
    few, many = build(train_images=5).source("train"), build(seed=3, batch_size=2).source("train")
    assert torch.equal(few.inputs(torch.arange(5)), many.inputs(torch.arange(5)))
    other = build(split_seed=1)
    assert not torch.equal(few.inputs(torch.arange(5)), other.source("train").inputs(torch.arange(5)))
    assert torch.equal(build().source("test").inputs(torch.arange(3)), other.source("test").inputs(torch.arange(3)))
    assert not torch.equal(few.inputs(torch.arange(5)), build().source("valid").inputs(torch.arange(5)))


def test_validation_images_have_digits_that_training_images_have_not(build):
    data = build(train_images=3000, valid_images=1000)
    trained, held_out = (set(data.source(part).images.number_NS[:, -DIGITS:].flatten().tolist()) for part in ALL_PARTS)
    assert len(trained) > 150
    assert len(held_out) > 70
    assert not trained & held_out


ALL_PARTS = ("train", "valid")


def test_a_batch_has_the_targets_of_the_tasks_that_are_asked(build):
    data = build(targets="top,multi")
    data.setup("fit")
    loader = data.train_dataloader()
    assert loader.num_workers == 0, "the digits of all images would be sent with each batch"
    images, targets, index = next(iter(loader))
    assert images.shape == (4, 1, 150, 210)
    assert list(targets) == ["top", "multi"]
    assert torch.equal(images, data.source("train").inputs(index))
    handles = build(lazy=True).source("train").inputs(index)
    assert list(handles.shape) == list(images.shape)
    corners = SetBatch(torch.tensor([[3, 50]]).expand(4, 2), [1] * 4)
    assert torch.equal(handles.read(corners, 60), images[:, :, 3:63, 50:110])
    alone = build(targets="max").source("train").targets
    assert torch.equal(alone, build().source("train").targets["max"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": [500, 139]}, "data.image_size=\\[500, 139\\]: five digits need at least 140 pixels"),
        ({"targets": "majority,classification"}, "task=classification: these data have the tasks majority, max"),
    ],
)
def test_what_cannot_be_drawn_is_refused(build, changes, message):
    with pytest.raises(UserError, match=message):
        build(**changes)
