import numpy as np
import pytest
import torch

from datamodule.pixel_statistics import mean_and_std
from set_module.set_batch import SetBatch


def batch(images):
    return images, torch.zeros(len(images)), torch.arange(len(images))


def test_agrees_with_numpy_on_all_images_at_once():
    images = torch.randint(256, (23, 3, 5, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images[:, 1] //= 7
    pixels = images.numpy().astype(np.float64) / 255
    mean, std = mean_and_std(map(batch, images.split([10, 10, 3])))
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3)), rtol=1e-12)


def test_nothing_is_lost_over_many_equal_pixels():
    """n s2 - s1^2 needs 65 bits here, of which the leading 40 cancel out."""
    white = torch.full((1, 1, 1000, 1000), 255, dtype=torch.uint8)
    almost = white.clone()
    almost[..., 0, 0] = 254
    mean, std = mean_and_std([*[batch(white)] * 20, *[batch(almost)]])
    share = 1 / (21 * 10**6)  # of pixels one level below white
    assert mean == [pytest.approx(1 - share / 255, rel=1e-15)]
    assert std == [pytest.approx((share * (1 - share)) ** 0.5 / 255, rel=1e-12)]
    assert mean_and_std([batch(white)]) == ([1.0], [0.0])


def test_bags_count_the_images_that_they_hold():
    images = torch.tensor([0, 255, 255, 255], dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    mean, std = mean_and_std([(SetBatch(images, torch.tensor([1, 3])), torch.zeros(2), torch.arange(2))])
    assert mean == [0.75]
    assert std == [pytest.approx(0.75**0.5 / 2)]


def test_of_vectors_each_feature_is_measured_and_nothing_cancels():
    vectors = torch.randn(23, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1e-3, 50.0])
    vectors += torch.tensor([0.0, 1e4, -3.0])
    batches = [(SetBatch(part, torch.tensor([1, len(part) - 1])), None, None) for part in vectors.split([10, 10, 3])]
    mean, std = mean_and_std(batches)
    np.testing.assert_allclose(mean, vectors.double().numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, vectors.double().numpy().std(0), rtol=1e-9)
