import pytest
import torch
from tiny_mnist import write_mnist

from datamodule.digit_sets import DigitsInBag, DigitSum, UniqueDigits
from process.errors import UserError

# the label of image i of the tiny MNIST is i % 10


@pytest.fixture
def build(tmp_path, settings):
    write_mnist(tmp_path, train=250, test=30)
    facts = {"root": str(tmp_path), "image_size": [28, 28], "num_classes": None, "target_shape": [], "valid": 80}
    drawn = {"set_size": [1, 9], "steps_per_epoch": 10, "valid_sets": 400, "test_sets": 30}
    return lambda kind, **changes: kind(**settings | facts | drawn | changes)


def drawn(data, part):
    """Yield the digits of each set, the positions of its images, and the target."""
    source = data.source(part)
    for members, target in zip(source.members, source.targets, strict=True):
        yield [position % 10 for position in members.tolist()], members.tolist(), target


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_sums(build, part):
    data = build(DigitSum, batch_size=50)
    found = list(drawn(data, part))
    assert [float(target) for *_, target in found] == [sum(digits) for digits, *_ in found]
    assert {len(digits) for digits, *_ in found} == set(range(1, 10))
    assert data.source(part).targets.dtype == torch.float32
    sets, _, _ = next(iter(data.train_dataloader()))
    assert sets.values.shape[1:] == (1, 28, 28)
    assert sets.values.dtype == torch.uint8


def test_how_many_are_different(build):
    data = build(UniqueDigits, set_size=[6, 10], batch_size=600)
    found = list(drawn(data, "train"))
    assert [float(target) for *_, target in found] == [len(set(digits)) for digits, *_ in found]
    of_six = torch.tensor([float(target) for digits, _, target in found if len(digits) == 6])
    assert set(of_six.tolist()) == {1, 2, 3, 4, 5, 6}
    assert float(of_six.mean()) == pytest.approx(3.5, abs=0.6)  # uniform: not what six random digits have, 4.7
    (sets, targets, _), *_ = data.sized_dataloader("test", 40)
    assert set(sets.lengths.tolist()) == {40}
    assert float(targets.max()) <= 10


def test_which_are_there(build):
    data = build(DigitsInBag, num_classes=10, target_shape=None)
    for digits, _, target in drawn(data, "test"):
        assert target.tolist() == [float(k in digits) for k in range(10)]
    assert data.class_names == [str(digit) for digit in range(10)]
    data.setup("fit")
    assert data.class_counts("test") == data.source("test").targets.sum(0).int().tolist()


def test_validation_sets_are_of_images_that_training_does_not_see(build):
    data = build(DigitSum, batch_size=1000)
    used = {part: {i for _, members, _ in drawn(data, part) for i in members} for part in ("train", "valid", "test")}
    assert not used["train"] & used["valid"]
    assert used["train"] | used["valid"] == set(range(250))
    assert used["test"] == set(range(30))
    few = build(DigitSum, batch_size=1000, limit_train=120)
    assert {i for _, members, _ in drawn(few, "train") for i in members} < used["train"]
    folded = build(DigitSum, batch_size=1000, fold=1)
    assert {i for _, members, _ in drawn(folded, "valid") for i in members} != used["valid"]


def test_a_digit_without_images_is_refused(build):
    with pytest.raises(UserError, match=r"no image of the digit \d is left to draw.*data.limit_train"):
        build(DigitSum, limit_train=3).source("train")


def test_each_digit_of_a_training_set_is_shifted_by_itself(build):
    data = build(DigitSum, crop_padding=2)
    sets, _, index = next(iter(data.train_dataloader()))
    shifted = data.augmentation(sets, index, epoch=0)
    margins = torch.nn.functional.pad(sets.values, [2] * 4)
    windows = torch.stack([margins[:, :, y : y + 28, x : x + 28] for y in range(5) for x in range(5)])
    found = (windows == shifted.values).flatten(2).all(2)  # [25, N]
    assert found.any(0).all()
    assert len(set(found.int().argmax(0).tolist())) > 10
