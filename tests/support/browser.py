"""A real browser that opens pages of this machine."""

import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

SECONDS = 120  # the limit of every wait: machines may be busy
# the pages' settings, as for a user who wants curves only: no panes of settings, no assistant
REMEMBERED = {
    "_tb_global_settings": {
        "timeSeriesSettingsPaneOpened": False,
        "stepSelectorEnabled": False,
        "sideBarWidthInPercent": 22,
        "scalarSmoothing": 0,
        "ignoreOutliers": False,
    },
    "mlflow.workflowType_v1": "machine_learning",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True,
}


@contextmanager
def chromium() -> Iterator[Page]:
    """Yield an empty page of a browser that reaches this machine only."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        raise SystemExit("no Chromium: install Debian's package chromium, or Google Chrome")
    with sync_playwright() as playwright:
        only_here = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=executable, args=[only_here], timeout=1000 * SECONDS)
        try:
            page = browser.new_page()
            page.set_default_timeout(1000 * SECONDS)
            for name, value in REMEMBERED.items():
                page.add_init_script(f"localStorage.setItem({json.dumps(name)}, {json.dumps(json.dumps(value))})")
            yield page
        finally:
            browser.close()


def wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {SECONDS} s: {done.__qualname__}")
        time.sleep(0.2)


def save(page: Page, path: Path) -> None:
    page.evaluate("document.activeElement.blur()")  # no cursor blinks in a field
    page.wait_for_timeout(1000)  # menus fade, scroll bars go
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(dither=Image.Dither.NONE).save(path, optimize=True)
