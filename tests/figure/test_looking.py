import numpy
import pytest
import torch

from figure.looking import BOX, LIKELY, UNSEEN, number_boxes, place_box, seen_part

WHITE_IMAGE = torch.full((1, 6, 8), 255, dtype=torch.uint8)
SIDE = 160  # 20 pixels each


def colour(picture, y, x):
    """Return the colour in the middle of a pixel of the image."""
    return tuple(numpy.array(picture)[y * 20 + 10, x * 20 + 10].tolist())


def test_only_what_patches_cover_is_shown():
    picture = seen_part(WHITE_IMAGE, [(0, 0), (3, 5)], 3, SIDE)
    shown = {(y, x) for y in range(6) for x in range(8) if colour(picture, y, x) == (255, 255, 255)}
    assert shown == {(y + top, x + left) for y in range(3) for x in range(3) for top, left in ((0, 0), (3, 5))}
    assert colour(picture, 5, 0) == UNSEEN


def test_scores_are_violet_at_the_centres_of_their_patches_and_the_best_place_is_outlined():
    scores_RX = torch.zeros(4, 6)  # of places of patches of 3
    scores_RX[2, 4], scores_RX[0, 0] = 2.0, -torch.inf
    picture = seen_part(WHITE_IMAGE, [(0, 0)], 3, SIDE, scores_RX)
    assert colour(picture, 3, 5) == LIKELY
    assert colour(picture, 4, 1) == UNSEEN
    assert colour(picture, 0, 0) == (255, 255, 255), "what was seen covers the scores"
    left, top, right, bottom = place_box(picture, (2, 4), 3, (6, 8))
    assert (left, top, right, bottom) == (80, 40, 139, 99)
    assert all(picture.getpixel(corner) == LIKELY for corner in ((left, top), (right, top), (right, bottom)))


@pytest.mark.parametrize("scores_RX", [torch.full((4, 6), -torch.inf), torch.full((4, 6), torch.nan)])
def test_without_a_score_all_is_pale(scores_RX):
    pixels = numpy.array(seen_part(WHITE_IMAGE, [], 3, SIDE, scores_RX))
    assert (pixels == numpy.array(UNSEEN)).all()


def test_numbers_do_not_hide_each_other():
    picture = seen_part(WHITE_IMAGE, [(1, 1), (1, 1)], 4, SIDE)
    number_boxes(picture, [("1", (1, 1)), ("2", (1, 1))], 4, (6, 8))
    left, top, right, bottom = place_box(picture, (1, 1), 4, (6, 8))
    assert picture.getpixel((left + 2, top + 10)) == BOX
    assert picture.getpixel((right - 2, top + 10)) == BOX
    assert picture.getpixel((left + 2, bottom - 10)) != BOX
