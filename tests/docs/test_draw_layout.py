"""The picture and the table in CONTRIBUTING.md are those of the imports as they are now."""

import runpy
from types import SimpleNamespace

import pytest
from runs import REPOSITORY

SCRIPT = REPOSITORY / "docs" / "draw_layout.py"


@pytest.fixture(scope="module")
def layout():
    return SimpleNamespace(**runpy.run_path(str(SCRIPT)))


def test_the_page_is_current(layout):
    page = layout.PAGE.read_text(encoding="utf-8")
    assert "```mermaid" in page
    remedy = "PYTHONPATH=tests/support python docs/draw_layout.py"
    assert layout.drawn(page) == page, f"src/ or config/ has changed: {remedy}"


def test_an_arrow_that_a_longer_path_implies_is_left_out(layout):
    graph = {"command": {"run", "process"}, "run": {"process"}, "table": {"process"}}
    assert layout.without_detours(graph) == {"command": {"run"}, "run": {"process"}, "table": {"process"}}


def test_a_circle_is_refused(layout):
    with pytest.raises(ValueError, match="circular imports: "):
        layout.without_detours({"command": {"run", "table"}, "run": {"process"}, "process": {"run"}, "table": {"run"}})


def test_a_sentence_ends_at_its_period_not_at_a_file_name(layout, tmp_path):
    (tmp_path / "x.py").write_text('"""Tables that report.py\nprints. No torch.\n\nMore."""\n')
    assert layout.first_sentence(tmp_path / "x.py") == "Tables that report.py prints."
