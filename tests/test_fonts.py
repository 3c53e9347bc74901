"""Names are drawn in a font that has their letters, and no picture shows a box."""

from pathlib import Path

import matplotlib
import numpy
import pytest
from PIL import Image, ImageDraw, ImageFont

import fonts

DEJAVU = Path(matplotlib.get_data_path(), "fonts", "ttf")  # Latin with accents, Greek, Cyrillic; no Japanese


@pytest.fixture
def installed(monkeypatch):
    """Return `installed(*folders)`, which replaces the folders with fonts of this system."""

    def use(*folders):
        monkeypatch.setattr(fonts, "FOLDERS", list(folders))
        fonts._installed.cache_clear()
        fonts.find.cache_clear()

    yield use
    fonts._installed.cache_clear()
    fonts.find.cache_clear()


def families(text):
    return [(piece, font.getname()[0]) for piece, font in fonts.pieces(text, 15)]


def test_letters_that_a_font_lacks():
    assert fonts.lacking(fonts.default(15), "a Z~ Жéa猫") == "éЖ猫"
    assert fonts.lacking(ImageFont.truetype(DEJAVU / "DejaVuSans.ttf", 15), "a Z~ Жéa猫") == "猫"


def test_a_text_is_drawn_in_one_font_that_has_all_its_letters(installed):
    installed(DEJAVU)
    assert families("true: Café") == [("true: Café", "DejaVu Sans")]  # neither bold nor with serifs
    assert families("Cafe\u0301") == [("Café", "DejaVu Sans")]  # as macOS stores it
    assert families("cafe") == [("cafe", "Aileron")]


def test_letters_of_a_font_without_english_are_drawn_apart(installed):
    installed(DEJAVU)
    partial = fonts.find("≥")
    assert partial is not None
    real = fonts.lacking
    with pytest.MonkeyPatch.context() as patch:  # a font that lacks what Aileron has, as Noto's of single scripts do
        patch.setattr(
            fonts, "lacking", lambda font, text: "x" if font.path == partial and "x" in text else real(font, text)
        )
        fonts.find.cache_clear()
        assert families("x ≥ 3") == [("x ", "Aileron"), ("≥", "DejaVu Sans"), (" 3", "Aileron")]


def test_without_a_font_nothing_is_found(installed, tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    (tmp_path / "AdobeBlank.ttf").write_bytes((DEJAVU / "DejaVuSans.ttf").read_bytes())
    installed(tmp_path, tmp_path / "nowhere")
    assert not fonts.drawable("Ж")
    assert fonts.drawable("plain")
    installed(DEJAVU)
    assert fonts.drawable("Ж")
    assert not fonts.drawable("猫")


def test_the_box_is_recognised_by_its_picture(installed):
    """Compare the answer of `lacking` with what is drawn."""
    installed(DEJAVU)

    def drawn(letter, font):
        image = Image.new("L", (30, 30))
        ImageDraw.Draw(image).text((5, 5), letter, 255, font)
        return numpy.asarray(image)

    ((_, found),) = fonts.pieces("é", 15)
    box = drawn(fonts.NO_LETTER, found)
    assert (drawn("é", found) != box).any()
    assert (drawn("猫", found) == box).all()
