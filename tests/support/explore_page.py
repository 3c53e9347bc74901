"""The page of `make explore` in a browser, used as a person uses it."""

from playwright.sync_api import Page

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
