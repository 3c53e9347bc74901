import numpy
import pytest
import torch
from given_logits import noise, shown_in_test
from torch import nn

from figure.first_filters import FirstFilters, around_gray, blue_to_red, drawn_filters, filters_of

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def test_the_first_layer_is_a_convolution_or_a_linear_layer_on_pixels():
    conv = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 5), nn.Conv2d(4, 9, 3))
    name, weight_FChw = filters_of(conv, (3, 8, 8))
    assert name == "1"
    assert torch.equal(weight_FChw, conv[1].weight)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(2 * 3 * 4, 6))
    name, weight_FChw = filters_of(linear, (2, 3, 4))
    assert torch.equal(weight_FChw.flatten(1), linear[1].weight)
    # a filter laid over the pixels is what the layer computes
    pixels_1CHW = torch.randn(1, 2, 3, 4)
    assert torch.allclose(
        (weight_FChw * pixels_1CHW).sum((1, 2, 3)) + linear[1].bias, linear(pixels_1CHW)[0], atol=1e-6
    )
    assert filters_of(linear, (1, 3, 4)) is None
    assert filters_of(nn.ReLU(), (1, 3, 4)) is None


def test_a_convolution_of_folded_pixels_is_drawn_as_one_of_pixels():
    network = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 5, 3, bias=False))
    name, weight_FChw = filters_of(network, (3, 10, 10))
    assert (name, weight_FChw.shape) == ("1", (5, 3, 6, 6))
    pixels_BCHW = torch.randn(2, 3, 10, 10)
    direct = nn.functional.conv2d(pixels_BCHW, weight_FChw, stride=2)
    torch.testing.assert_close(direct, network(pixels_BCHW), atol=1e-5, rtol=1e-5)


def test_nothing_is_gray_or_white_and_the_ends_are_coloured():
    unit = torch.tensor([0.0, 1.0, -1.0]).view(1, 1, 1, 3)
    zero, most, least = blue_to_red(unit)[0, 0].int()
    assert zero.tolist() == [255, 255, 255]
    assert most[0] > 180 > most[2]
    assert least[2] > 170 > least[0]
    assert around_gray(torch.tensor([0.0, 1.0, -1.0]).view(1, 3, 1, 1))[0, 0, 0].tolist() == [128, 255, 0]


def test_the_largest_come_first_on_one_scale():
    weight_FChw = torch.ones(4, 1, 2, 2) * torch.tensor([0.25, -1.0, 0.0, 0.5])[:, None, None, None]
    pixels = numpy.array(drawn_filters("layer", weight_FChw, 4))
    side = (pixels.shape[0] - 38 - 8) // 2
    corner = [pixels[38 + y * (side + 8) + 5, x * (side + 8) + 5].tolist() for y in (0, 1) for x in (0, 1)]
    assert corner[0][2] > corner[0][0], "-1 is the largest, and blue"
    assert corner[1][0] > corner[1][2], "then 0.5"
    assert corner[1][1] < corner[2][1] < 255, "0.25 is paler"
    assert corner[3] == [255, 255, 255]


@pytest.mark.parametrize(("network", "shown"), [(nn.Conv2d(3, 70, 3), 1), (nn.Linear(4, 4), 0)])
def test_a_picture_where_there_is_something_to_see(tmp_path, network, shown):
    arguments = (torch.zeros(5, 2), torch.zeros(5, dtype=torch.long), noise(5, 3, 6, 5), network)
    assert shown_in_test(FirstFilters(64), tmp_path, *arguments) == ["first_filters_at_0.png"] * shown


def test_a_number_below_one_is_refused():
    with pytest.raises(ValueError, match="count=0"):
        FirstFilters(0)
