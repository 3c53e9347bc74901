import pytest

from explore.chosen_set import ChosenSet

DRAWN = [(0, 0), (0, 5), (10, 10)]


def test_a_shuffled_set_is_the_same_set():
    chosen = ChosenSet(DRAWN, added=[(3, 3)], out={1})
    before = chosen.inside()
    chosen.shuffles = 1
    assert chosen.inside() != before
    assert sorted(chosen.inside()) == sorted(before)
    assert chosen.corner(-1) == (3, 3)


def test_the_last_element_stays_in():
    chosen = ChosenSet(DRAWN)
    assert chosen.toggle(0)
    assert chosen.toggle(1)
    assert not chosen.toggle(2)
    assert chosen.inside() == [2]
    assert chosen.toggle(0)
    assert chosen.inside() == [0, 2]


def test_what_was_clicked_stays_when_others_are_drawn():
    chosen = ChosenSet(DRAWN, added=[(3, 3)], out={0, 2})
    chosen.redraw([(0, 0), (0, 5)])
    assert chosen.inside() == [1, -1]
    chosen.redraw(DRAWN)
    assert chosen.inside() == [1, 2, -1]


def test_a_draw_of_which_all_would_be_out_is_in():
    chosen = ChosenSet(DRAWN, out={0, 1})
    chosen.redraw(DRAWN[:1])
    assert chosen.inside() == [0]


@pytest.mark.parametrize(("at", "number"), [((1.5, 1.5), 0), ((1.5, 6.5), 1), ((1.5, 4.0), 0), ((8.0, 8.0), None)])
def test_a_click_finds_the_patch_whose_centre_is_nearest(at, number):
    assert ChosenSet(DRAWN).under(*at, patch_size=4) == number


def test_a_patch_that_is_out_is_not_found():
    assert ChosenSet(DRAWN, out={0}).under(1.5, 1.5, 4) is None
    assert ChosenSet(DRAWN, out={0}).under(1.5, 1.5, 4, out=True) == 0
    assert ChosenSet(DRAWN).under(1.5, 1.5, 4, out=True) is None


@pytest.mark.parametrize(("at", "corner"), [((6.0, 6.0), (4, 4)), ((0.1, 11.9), (0, 8))])
def test_a_patch_is_put_in_around_the_click_and_within_the_image(at, corner):
    chosen = ChosenSet(DRAWN)
    chosen.put_in(*at, 4, (12, 12))
    assert chosen.corner(chosen.inside()[-1]) == corner
