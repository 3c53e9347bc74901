"""Use the page of `make explore` in a browser as a person does."""

from playwright.sync_api import Page

# of Streamlit's page, which tests rely on
PRIVATE_NAMES = ("stApp", "data-test-script-state", "data-stale", "stVegaLiteChart")
SIZE = {"width": 1440, "height": 900}


def pick(page: Page, label: str, text: str) -> None:
    """Choose the option of a list that contains the text."""
    box = page.get_by_role("combobox", name=label).first
    box.click()
    page.get_by_role("option").filter(has_text=text).first.click()
    settle(page)


def settle(page: Page) -> None:
    """Wait until the server has drawn the page."""
    page.wait_for_timeout(300)
    page.wait_for_function(
        "document.querySelector('[data-testid=stApp][data-test-script-state=notRunning]')"
        " && !document.querySelector('[data-stale=true]')"
    )
    page.wait_for_timeout(100)


def open_list(page: Page, address: str) -> None:
    """Open the page, on which no run is chosen yet."""
    page.set_viewport_size(SIZE)
    page.goto(address)
    page.get_by_text("Choose a run in the list").wait_for()
    settle(page)


def open_page(page: Page, address: str, run: str = "") -> None:
    """Open the page and choose the newest run whose line contains the text."""
    open_list(page, address)
    pick(page, "Run (of", run)
    page.get_by_text("with probability").wait_for()
    settle(page)


def show_image(page: Page, index: int) -> None:
    page.get_by_label("Image, 0 to").fill(str(index))
    page.keyboard.press("Enter")
    settle(page)


def click_picture(page: Page, name: str, x: float, y: float) -> None:
    """Click the picture at these parts of its width and height."""
    picture = page.get_by_alt_text(name)
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    settle(page)
