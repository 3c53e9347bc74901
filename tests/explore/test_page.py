"""The page in a real browser, clicked through."""

import re
import shutil
from types import SimpleNamespace

import pytest
from servers import explore_server

pytestmark = pytest.mark.processes

pytest.importorskip("streamlit", reason="Streamlit is not installed: make install")
browser = pytest.importorskip("browser", reason="Playwright is not installed: make install")
explore_page = pytest.importorskip("explore_page")
COUNT = re.compile(r"^(\d+) in the set")


@pytest.fixture(scope="module")
def page(trained):
    """The page on the two small runs, and its address."""
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no Chromium")
    with explore_server(trained) as (address, _), browser.chromium() as page:
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        explore_page.open_page(page, address)
        yield SimpleNamespace(page=page, address=address)
        assert not errors


@pytest.fixture
def at(page):
    """Its first page, on the run of patches."""
    explore_page.open_page(page.page, page.address, "patches")
    return page


def wait_for(at, condition) -> None:
    """A machine may stall: what a click asks for comes later then, not never."""
    for _ in range(600):
        if condition():
            return
        at.page.wait_for_timeout(100)
    raise AssertionError("not within a minute")


def count(at) -> int:
    return int(COUNT.match(at.page.get_by_text(COUNT).inner_text())[1])


def prediction(at) -> str:
    return at.page.locator(".ps-bars").inner_text()


def test_a_network_of_whole_images_shows_what_applies(page):
    explore_page.open_page(page.page, page.address, "cnn")
    page.page.get_by_text("sees the whole image").wait_for()
    assert page.page.get_by_role("button", name="Shuffle").count() == 0
    assert len(prediction(page).split("\n")) >= 10


def test_patches_go_out_and_in_by_clicks(at):
    drawn, before = count(at), prediction(at)
    explore_page.click_picture(at.page, "with its patches", 0.5, 0.5)
    wait_for(at, lambda: count(at) == drawn - 1 and prediction(at) != before)
    explore_page.click_picture(at.page, "the elements of the set", 0.4 / 16, 0.4)
    wait_for(at, lambda: count(at) in (drawn, drawn - 2))  # comes in where it is the one that is out, else goes out
    at.page.get_by_role("button", name="As drawn").click()
    wait_for(at, lambda: (count(at), prediction(at)) == (drawn, before))

    at.page.get_by_text("always adds").click()
    explore_page.settle(at.page)
    explore_page.click_picture(at.page, "with its patches", 0.5, 0.5)
    wait_for(at, lambda: count(at) == drawn + 1)


def test_patches_go_out_and_in_by_keys(at):
    drawn, before = count(at), prediction(at)
    at.page.get_by_alt_text("the elements of the set").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft", "Enter"):
        at.page.keyboard.press(key)
    wait_for(at, lambda: count(at) == drawn - 1 and prediction(at) != before)
    at.page.keyboard.press(" ")  # the picture that is drawn anew keeps the focus and the place
    wait_for(at, lambda: (count(at), prediction(at)) == (drawn, before))


def test_the_order_means_nothing_and_the_number_something(at):
    before, gallery = prediction(at), at.page.get_by_alt_text("the elements of the set")
    picture = gallery.get_attribute("src")
    at.page.get_by_role("button", name="Shuffle").click()
    wait_for(
        at, lambda: gallery.get_attribute("src") != picture and "changed" in at.page.get_by_text(COUNT).inner_text()
    )
    changed = re.search(r"no probability changed(?: by more than (\S+))?", at.page.get_by_text(COUNT).inner_text())
    assert float((changed[1] or "0").rstrip(".")) < 1e-6
    assert prediction(at) == before

    drawn = count(at)
    at.page.get_by_role("slider").press("ArrowLeft")
    wait_for(at, lambda: count(at) == drawn - 1 and prediction(at) != before)
    image = at.page.get_by_alt_text("with its patches")
    places = image.get_attribute("src")
    at.page.get_by_role("button", name="Draw others").click()
    wait_for(at, lambda: count(at) == drawn - 1 and image.get_attribute("src") != places)


def test_two_runs_side_by_side_and_images_behind_the_matrix(at):
    explore_page.pick(at.page, "Compared with", "cnn")
    at.page.get_by_text("model: patch_set / cnn").wait_for()
    wait_for(at, lambda: len(re.findall(r"\d\.\d{4}", prediction(at))) == 20)
    at.page.get_by_text("Test set", exact=True).click()
    at.page.get_by_text("are misclassified").wait_for()
    explore_page.settle(at.page)
    at.page.locator("[data-testid=stVegaLiteChart] .mark-rect path").nth(99).click(force=True)  # nines named nine
    at.page.get_by_text(re.compile(r"images of 9, classified as 9")).wait_for()
    explore_page.settle(at.page)
    explore_page.click_picture(at.page, "images of the cell", 0.05, 0.1)
    at.page.get_by_text("with probability").wait_for()
    wait_for(at, lambda: "9 ✓" in prediction(at))

    index = at.page.get_by_label("Image, 0 to").input_value()
    at.page.get_by_text("Number of patches", exact=True).click()
    at.page.get_by_text("has no free number of patches").wait_for()
    at.page.locator("[data-testid=stVegaLiteChart]").wait_for()
    at.page.get_by_text("Image", exact=True).click()
    at.page.get_by_text("with probability").wait_for()
    assert at.page.get_by_label("Image, 0 to").input_value() == index  # still the same


def test_no_other_page_may_talk_to_it(page):
    """A page of another origin, as an attack over DNS rebinding would be, gets no connection."""
    opens = """(origin) => new Promise(done => {
        const socket = new WebSocket(origin.replace("http", "ws") + "/_stcore/stream")
        socket.onopen = () => done(true)
        socket.onerror = () => done(false)
    })"""
    assert page.page.evaluate(opens, page.address)
    stranger = page.page.context.browser.new_page()
    stranger.goto("data:text/html,<p>elsewhere</p>")
    assert not stranger.evaluate(opens, page.address)
    stranger.close()


def test_the_last_patch_stays_in_and_a_message_changes_no_style(at):
    size = "getComputedStyle(document.querySelector('h1')).fontSize"
    before = at.page.evaluate(size)
    at.page.get_by_role("slider").press("Home")
    wait_for(at, lambda: count(at) == 1)
    explore_page.click_picture(at.page, "the elements of the set", 0.5 / 16, 0.4)
    at.page.get_by_text("A set needs at least one").wait_for()
    at.page.wait_for_timeout(300)
    assert count(at) == 1
    assert at.page.evaluate(size) == before
