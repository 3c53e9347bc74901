import torch

from explore import pictures
from explore.chosen_set import ChosenSet
from figure.looking import BOX, PART, UNSEEN
from figure.picture import tinted


def test_pale_is_what_no_patch_that_is_in_sees():
    image = torch.zeros(1, 8, 8, dtype=torch.uint8)
    picture = pictures.outlined(image, ChosenSet([(0, 0), (4, 4)], out={1}), patch_size=4)
    scale = pictures.SIDE // 8
    assert picture.getpixel((2 * scale, 2 * scale)) == (0, 0, 0)
    assert min(picture.getpixel((6 * scale + 9, 6 * scale + 9))) > 200


def test_heat_is_red_for_blue_against_and_pale_where_nothing_is_known():
    scores = torch.tensor([[1.0, -1.0], [torch.nan, 0.0]])
    picture = tinted(torch.full((1, 2, 2), 128, dtype=torch.uint8), scores, pictures.SIDE, UNSEEN)
    quarter = pictures.SIDE // 4
    red, blue, pale, calm = (picture.getpixel((x * quarter, y * quarter)) for y in (1, 3) for x in (1, 3))
    assert red[0] > 2 * red[2]
    assert blue[2] > 2 * blue[0]
    assert pale == UNSEEN
    assert len(set(calm)) == 1


def test_a_click_finds_the_cell_of_the_picture_drawn_there():
    patches = [torch.full((1, 4, 4), value, dtype=torch.uint8) for value in (40, 80, 120, 160, 200)]
    picture = pictures.gallery(patches, [1.0, None, 0.0, -1.0, float("nan")], columns=3, tile=52)
    at = (picture.width * 0.45, picture.height * 0.7)  # the second of the second row
    assert picture.getpixel((int(at[0]), int(at[1]))) == (200, 200, 200)
    assert pictures.cell_at(0.45, 0.7, 5, 3) == 4
    assert pictures.cell_at(0.9, 0.7, 5, 3) is None
    assert min(picture.getpixel((58 + 26, 26))) > 200  # that which is out is pale


def test_frames_say_which_is_for_and_which_against():
    red, calm, blue = (pictures.frame_colour(strength) for strength in (1.0, 0.0, -1.0))
    assert red == pictures.FOR
    assert blue == pictures.AGAINST
    assert calm == pictures.frame_colour(float("nan")) == pictures.CALM


def test_a_sheet_has_cells_of_one_size():
    sheets = [pictures.Image.new("RGB", (96, 96 - 20 * n), (n, 0, 0)) for n in range(3)]
    sheet = pictures.contact_sheet(sheets, [("a", "b")] * 3, columns=2)
    assert sheet.getpixel((10, sheet.height // 2 + 10)) == (2, 0, 0)


def test_patches_in_the_order_of_choice_have_numbers():
    image, chosen = torch.zeros(1, 8, 8, dtype=torch.uint8), ChosenSet([(0, 0), (4, 4)], added=[(0, 4)], out={1})
    plain, numbered = (pictures.outlined(image, chosen, 4, in_order) for in_order in (False, True))
    corner = (6, pictures.SIDE // PART - 2)  # where a number is
    assert plain.getpixel(corner) == (0, 0, 0)
    assert numbered.getpixel(corner) == BOX
    half = pictures.SIDE // 2
    for x, y in ((half, half), (half, 0)):  # taken out, added by hand
        place = (x + corner[0], y + corner[1])
        assert numbered.getpixel(place) == plain.getpixel(place)
