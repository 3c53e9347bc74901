import numpy
import pytest
from PIL import Image

from logger.figure_files import FigureFiles
from process.errors import UserError

PICTURE = numpy.arange(24, dtype=numpy.uint8).reshape(2, 4, 3)


def test_nothing_is_written_before_the_end(tmp_path):
    files = FigureFiles(str(tmp_path / "figures"))
    files.prepare()
    files.log_image("pictures/one", PICTURE, 7)
    files.log_text("two.md", "zwei: ü")
    assert not list((tmp_path / "figures").iterdir())
    assert files.write() == [tmp_path / "figures" / "one.png", tmp_path / "figures" / "two.md"]
    with Image.open(tmp_path / "figures" / "one.png") as image:
        assert numpy.array_equal(numpy.array(image), PICTURE)
    assert (tmp_path / "figures" / "two.md").read_text(encoding="utf-8") == "zwei: ü"
    assert len(list((tmp_path / "figures").iterdir())) == 2


def test_a_folder_that_cannot_be_created_is_one_line(tmp_path):
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(UserError, match="cannot write"):
        FigureFiles(str(tmp_path / "figures")).prepare()
