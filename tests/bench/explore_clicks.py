"""The page of `make explore`: from a click on a patch in Chromium until the new probabilities are drawn.

Milliseconds by the browser's clock, server and browser on this machine; a patch_set, 16 patches of a 28x28 image.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from browser import chromium
from explore_page import open_page, settle
from playwright.sync_api import Page
from runs import REPOSITORY
from servers import explore_server
from timing import row
from tiny_mnist import write_mnist

PATCHES = 16  # what the page draws at first
# the time at which the click arrived, and that of the first frame after other probabilities stood in the page
TIMED = """() => {
  const said = () => document.querySelector(".ps-bars")?.textContent
  const before = said()
  addEventListener("click", (event) => {
    const observer = new MutationObserver(() => {
      if (!said() || said() === before) return
      observer.disconnect()
      requestAnimationFrame(() => { window.answered = performance.now() - event.timeStamp })
    })
    observer.observe(document.body, { subtree: true, childList: true, characterData: true })
  }, { capture: true, once: true })
  window.answered = undefined
}"""


def train(folder: str) -> None:
    """Train for an epoch on noise, since the content of the images costs no time."""
    data = ["data=MNIST", f"data.root={folder}", "data.valid=100", "hparams.max_epochs=1"]
    command = [sys.executable, str(REPOSITORY / "src" / "train.py"), *data, "callbacks=[basic]", "loggers=none"]
    subprocess.run([*command, "verbosity=0"], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def click(page: Page, place: int) -> float:
    """Return the milliseconds until the answer to a click on this element of the set."""
    gallery = page.get_by_alt_text("the elements of the set")
    gallery.scroll_into_view_if_needed()
    box = gallery.bounding_box()
    assert box is not None
    page.evaluate(TIMED)
    page.mouse.click(box["x"] + (place + 0.5) / PATCHES * box["width"], box["y"] + 0.4 * box["height"])
    milliseconds = page.wait_for_function("window.answered").json_value()
    settle(page)
    return milliseconds


def main() -> None:
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        print("  left out: no Chromium: install Debian's package chromium, or Google Chrome")
        return
    with tempfile.TemporaryDirectory() as folder:
        write_mnist(Path(folder), train=1000, test=10000)
        train(folder)
        with explore_server(Path(folder)) as (address, _), chromium() as page:
            open_page(page, address)
            places = [place for place in range(PATCHES) for _ in ("out", "in again")]
            times = [click(page, place) for place in [0, 0, *places]][2:]  # the first ones are slower
    figure = f"{median(times):.0f} ({min(times):.0f} to {max(times):.0f})"
    row(f"click to probabilities, {len(times)} clicks, ms", figure, "goal <= 300")
