from pathlib import Path

import pytest

from process.errors import UserError
from process.files import typed_path


def test_what_is_there_and_what_is_not_yet(tmp_path):
    for text in (str(tmp_path), str(tmp_path / "absent" / "x"), f"{__file__}/x", "."):
        assert typed_path("output", text, "") == Path(text)
    assert typed_path("output", "~/x", "") == Path.home() / "x"


@pytest.mark.parametrize("text", [300 * "x", "~nobody_at_all/x", "a\0b"])
def test_what_no_path_can_be(text):
    with pytest.raises(UserError, match=r"^output=(?s:.)+: .+: name a file$"):
        typed_path("output", text, "name a file")
