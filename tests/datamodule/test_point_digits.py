import pytest
import torch
from tiny_mnist import write_mnist

from datamodule.point_digits import PointDigits, points
from set_module.set_batch import SetBatch


def test_points_are_the_pixels_that_are_not_black():
    images = torch.zeros(3, 2, 4, dtype=torch.uint8)
    images[0, 0, 0], images[0, 1, 3] = 51, 255
    images[2, 0, 2] = 102
    expected = [
        [[1 / 8, 1 / 4, 0.2], [7 / 8, 3 / 4, 1.0]],
        [[1 / 8, 1 / 4, 0.0]],  # a black image keeps one point, as a set is not empty
        [[5 / 8, 1 / 4, 0.4]],
    ]
    found = points(images)
    assert found.lengths.tolist() == [2, 1, 1]
    assert torch.allclose(found.values, torch.tensor([point for each in expected for point in each]))


def test_batches_are_sets_of_points_with_labels(tmp_path, settings):
    write_mnist(tmp_path, train=30, test=20)
    facts = {"root": str(tmp_path), "num_classes": 10, "channels": None, "image_size": None, "features": 3}
    data = PointDigits(**settings | facts | {"max_elements": 50})
    data.prepare_data()
    data.setup("fit")
    assert {"train": 25, "valid": 5, "test": 20}.items() <= data.summary().items()
    for sets, labels, index in [*data.train_dataloader(), *data.val_dataloader()]:
        assert isinstance(sets, SetBatch)
        assert sets.values.shape[1:] == (3,)
        assert set(sets.lengths.tolist()) == {50}
        assert torch.equal(labels, index % 10)
    assert data.class_counts("test") == [2] * 10
    (sized,) = {n for sets, _, _ in data.sized_dataloader("test", 100) for n in sets.lengths.tolist()}
    assert sized == 100
    assert float(data.source("test").members.values.max()) == pytest.approx(1)
