import numpy
import torch
from given_logits import noise

from figure.item_picture import drawn_item, limits_of


def dark(picture):
    """Return the mean place (x, y) of the dark pixels, as shares of the side."""
    rows, columns = (numpy.array(picture.convert("L")) < 120).nonzero()
    return columns.mean() / picture.width, rows.mean() / picture.height


def test_a_vector_of_two_features_is_a_point_at_its_place():
    limits = torch.tensor([0.0, 0.0]), torch.tensor([10.0, 10.0])
    x, y = dark(drawn_item(torch.tensor([[8.0, 1.0]]), 100, limits))
    assert abs(x - 0.8) < 0.05
    assert abs(y - 0.1) < 0.07, "y runs downwards"


def test_a_third_feature_darkens_and_one_alone_is_x():
    pale, strong = (
        drawn_item(torch.tensor([[0.5, 0.5, third], [0.5, 0.5, third]]), 100, (torch.zeros(3), torch.ones(3)))
        .convert("L")
        .getpixel((50, 50))
        for third in (0.0, 1.0)
    )
    assert strong < 100 < pale
    x, y = dark(drawn_item(torch.tensor([[2.0]]), 100, (torch.tensor([0.0]), torch.tensor([4.0]))))
    assert abs(x - 0.5) < 0.02
    assert abs(y - 0.5) < 0.02


def test_longer_vectors_are_columns_and_each_feature_has_its_scale():
    vectors_NF = torch.tensor([[0.0, 5.0, 1.0, 7.0], [100.0, 4.0, 0.0, 7.0]])
    picture = drawn_item(vectors_NF, 80).convert("L")
    first, second = ([picture.getpixel((x, y)) for y in (10, 30, 50, 70)] for x in (20, 60))
    assert first[0] < second[0]
    assert first[1] > second[1]
    assert first[2] > second[2]
    assert first[3] == second[3], "a feature that is constant"


def test_any_item_has_a_picture():
    items = [noise(3, 8, 8), noise(5, 1, 8, 8), torch.rand(4, 2), torch.rand(4, 9), torch.rand(9), torch.rand(2)]
    items += [torch.full((3, 2), torch.nan), torch.rand(1, 2), torch.ones(3, 2)]
    for item in items:
        assert max(drawn_item(item, 50).size) in range(40, 61)
    low_F, high_F = limits_of(torch.tensor([[1.0, torch.nan], [3.0, 2.0]]))
    assert (low_F.tolist(), high_F.tolist()) == ([1.0, 0.0], [3.0, 2.0])
