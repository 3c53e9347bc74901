"""Draw docs/explore.png and docs/explore_test_set.png, the README's pictures of the page of `make explore`.

PYTHONPATH=tests/support python docs/draw_explore.py FOLDER [--index 18] [--output docs]
(FOLDER: in which runs were trained, with their outputs/; the newest is opened, one more compared; needs Chromium)
"""

import argparse
from pathlib import Path

from draw_pages import SECONDS, chromium, save
from playwright.sync_api import Page, expect
from servers import explore_server

SIZE = {"width": 1440, "height": 900}


def pick(page: Page, label: str, text: str) -> None:
    """Choose the option of a list by a part of its text."""
    box = page.get_by_role("combobox", name=label).first
    box.click()
    page.get_by_role("option").filter(has_text=text).first.click()
    settle(page)


def settle(page: Page) -> None:
    """Until the server has drawn what was asked for."""
    page.wait_for_timeout(300)
    page.wait_for_function(
        "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
        " && !document.querySelector('[data-stale=true]')"
    )
    page.wait_for_timeout(100)


def open_page(page: Page, address: str) -> None:
    page.set_viewport_size(SIZE)
    page.goto(address)
    page.get_by_text("with probability").wait_for()
    settle(page)


def show_image(page: Page, index: int) -> None:
    page.get_by_label("Image, 0 to").fill(str(index))
    page.keyboard.press("Enter")
    settle(page)


def click_picture(page: Page, name: str, x: float, y: float) -> None:
    """At these parts of its width and height."""
    picture = page.get_by_alt_text(name)
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    settle(page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--index", type=int, default=18, help="of the test image")
    parser.add_argument("--output", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    with chromium() as page, explore_server(arguments.folder) as (address, _):
        open_page(page, address)
        show_image(page, arguments.index)
        for x, y in ((0.85, 0.2), (0.15, 0.85), (0.15, 0.15)):
            click_picture(page, "with its patches", x, y)
        save(page, arguments.output / "explore.png")
        pick(page, "Compared with", "MNIST")
        page.get_by_text("Test set", exact=True).click()
        expect(page.get_by_text("named wrongly")).to_be_visible(timeout=1000 * SECONDS)
        page.set_viewport_size({**SIZE, "height": 1000})
        settle(page)
        save(page, arguments.output / "explore_test_set.png")
