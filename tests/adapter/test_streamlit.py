"""The names of Streamlit's page that the style and the tests in a browser rely on are still in its JavaScript."""

import re
from pathlib import Path

import pytest

from adapter.streamlit import STYLE, refusal

streamlit = pytest.importorskip("streamlit", reason="Streamlit is not installed: make install")
explore_page = pytest.importorskip("explore_page", reason="Playwright is not installed: make install")
STYLED = {*re.findall(r"\[data-(?:testid|baseweb)=(\w+)\]", STYLE), "block-container", "st-key"}


@pytest.fixture(scope="module")
def javascript():
    files = Path(streamlit.__file__).parent.glob("static/static/js/*.js")
    return "".join(file.read_text(encoding="utf-8") for file in files)


@pytest.mark.parametrize("name", sorted({*STYLED, *explore_page.PRIVATE_NAMES}))
def test_the_page_still_has_the_name(javascript, name):
    assert re.search(rf"[\"'`. -]{re.escape(name)}\b", javascript), f"Streamlit's page has no {name} any more"


@pytest.fixture
def allowed_hosts():
    """Set Streamlit's option to names, and back to none."""
    yield lambda names: streamlit.config.set_option("server.allowedHosts", names)
    streamlit.config.set_option("server.allowedHosts", [])


def test_streamlit_still_has_its_check_of_hosts(allowed_hosts):
    allowed_hosts(["localhost", "::1"])
    host, origin = (b"host", b"localhost:8501"), (b"origin", b"http://localhost:8501")
    assert refusal([host]) is None
    assert refusal([host, origin]) is None
    assert refusal([(b"host", b"[::1]:8501")]) is None
    assert refusal([(b"host", b"a.example:8501")]) == "This page answers under these names only: localhost, ::1."
    assert refusal([(b"host", b"a.example"), host]) is not None
    assert refusal([]) is not None
    assert refusal([host, (b"origin", b"http://localhost:1")]) == "Pages of other origins may not use this page."
    allowed_hosts([])
    assert refusal([host]) is not None
