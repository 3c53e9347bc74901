import pytest
import torch

from network.conv import PadTo, conv_block, halved


@pytest.mark.parametrize("height", [1, 2, 3, 7, 8, 28, 33])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_halved_is_the_side_after_so_many_blocks(height, times):
    images = torch.randn(2, 3, height, 4)
    for _ in range(times):
        images = conv_block(3, 3, pool=True).eval()(images)
    assert images.shape[2:] == (halved(height, times), halved(4, times))


def test_without_pooling_the_side_stays():
    assert conv_block(3, 5, pool=False).eval()(torch.randn(1, 3, 7, 4)).shape == (1, 5, 7, 4)


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
