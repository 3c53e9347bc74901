import torch

from network.pad_to import PadTo


def test_a_small_image_stands_in_the_middle_of_zeros():
    image = torch.randn(1, 2, 28, 7)
    padded = PadTo(32)(image)
    assert padded.shape == (1, 2, 32, 32)
    assert torch.equal(padded[:, :, 2:30, 12:19], image)
    assert padded.count_nonzero() == image.count_nonzero()


def test_a_large_side_stays():
    assert PadTo(32)(torch.randn(1, 1, 40, 30)).shape == (1, 1, 40, 32)
    image = torch.randn(1, 1, 32, 48)
    assert PadTo(32)(image) is image
