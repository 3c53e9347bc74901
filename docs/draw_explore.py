"""Draw docs/explore.png and docs/explore_test_set.png for these pages: the page of `make explore`.

PYTHONPATH=tests/support python docs/draw_explore.py FOLDER [--index 18] [--output docs]
(FOLDER holds the outputs/ of at least two runs: the newest is chosen, another compared with it; needs Chromium)
"""

import argparse
from pathlib import Path

from browser import SECONDS, chromium, save
from explore_page import SIZE, click_picture, open_page, pick, settle, show_image
from playwright.sync_api import expect
from servers import explore_server

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--index", type=int, default=18, help="index of the test image")
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
        expect(page.get_by_text("are misclassified")).to_be_visible(timeout=1000 * SECONDS)
        page.set_viewport_size({**SIZE, "height": 1000})
        settle(page)
        save(page, arguments.output / "explore_test_set.png")
