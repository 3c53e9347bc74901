import pytest
import torch

from network.normalize import Normalize, NormalizeVectors

BYTES = torch.arange(256, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("mean", "std", "channels"),
    [
        ([0.1307], [0.3081], 1),
        ([0.5], [0.25], 3),
        ([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616], 3),
        ([0.4, 0.5, 0.6], [0.2], 3),
    ],
)
def test_equals_the_formula(mean, std, channels):
    images = BYTES.view(1, 1, 16, 16).repeat(2, channels, 1, 1)
    broadcast = [torch.tensor(v).expand(channels).view(channels, 1, 1) for v in (mean, std)]
    expected = (images / 255 - broadcast[0]) / broadcast[1]
    normalize = Normalize(mean, std, channels)
    torch.testing.assert_close(normalize(images), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(normalize(images[0]), expected[0], rtol=1e-5, atol=1e-6)


def test_constants_travel_with_the_weights_and_follow_the_dtype():
    normalize, other = Normalize([0.5], [0.25], 1), Normalize([0.1], [0.9], 1)
    other.load_state_dict(normalize.state_dict())
    assert torch.equal(other(BYTES.view(1, 16, 16)), normalize(BYTES.view(1, 16, 16)))
    assert normalize.double()(BYTES.view(1, 16, 16)).dtype == torch.float64


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([0.5, 0.5], [0.2], "mean has 2 entries for 3 channels"),
        ([0.5], [0.2] * 4, "std has 4 entries for 3 channels"),
        ([0.5], [0.0], "must be > 0"),
        ([0.5], [0.2, -0.2, 0.2], "must be > 0"),
    ],
)
def test_impossible_constants_are_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        Normalize(mean, std, channels=3)


def test_float_images_are_refused():
    with pytest.raises(ValueError, match="give uint8"):
        Normalize([0.5], [0.25], 1)(torch.rand(2, 1, 4, 4))


@pytest.mark.parametrize("channels", [1, 3])
def test_another_number_of_channels_is_not_broadcast(channels):
    with pytest.raises(ValueError, match=rf"give \[.., {channels}, H, W\]"):
        Normalize([0.5], [0.25], channels)(torch.zeros(2, 4 - channels, 4, 4, dtype=torch.uint8))


VECTORS = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("mean", "std"), [([50.0], [2.0]), ([1, 2, 3], [0.5, 1, 10.0]), ([1.0], [0.5, 1.0, 10.0])])
def test_vectors_are_normalised_per_feature(mean, std):
    given = VECTORS.clone()
    expected = (given - torch.tensor(mean)) / torch.tensor(std)
    torch.testing.assert_close(NormalizeVectors(mean, std, 3)(given), expected)
    assert torch.equal(given, VECTORS)


def test_the_statistics_of_vectors_travel_with_the_weights():
    normalize, other = NormalizeVectors([1.0, 2.0, 3.0], [0.5], 3), NormalizeVectors([0.0], [1.0], 3)
    other.load_state_dict(normalize.state_dict())
    assert torch.equal(other(VECTORS), normalize(VECTORS))


def test_a_small_difference_of_large_numbers_is_kept():
    large = torch.tensor([[10000.0], [10000.25]])
    assert torch.equal(NormalizeVectors([10000.0], [0.25], 1)(large), torch.tensor([[0.0], [1.0]]))


def test_impossible_statistics_and_other_vectors_are_refused():
    with pytest.raises(ValueError, match="mean has 2 entries for 3 features: give 1 or as many"):
        NormalizeVectors([0.5, 0.5], [0.2], 3)
    with pytest.raises(ValueError, match="must be > 0"):
        NormalizeVectors([0.5], [0.0], 3)
    normalize = NormalizeVectors([0.5], [0.25], 3)
    with pytest.raises(ValueError, match=r"vectors are torch.int64: give float32"):
        normalize(VECTORS.long())
    for shape in ((7, 2), (7, 3, 1), (3,)):
        with pytest.raises(ValueError, match=r"give \[N, 3\]"):
            normalize(torch.zeros(shape))
