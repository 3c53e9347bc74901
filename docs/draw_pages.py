"""Draw docs/tensorboard.png and docs/mlflow.png for these pages: the curves of runs on the pages of both loggers.

PYTHONPATH=tests/support python docs/draw_pages.py FOLDER [--output docs]
(FOLDER holds the outputs/ and mlruns/ of the runs; needs Chromium)
"""

import argparse
import io
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy
from browser import SECONDS, chromium, save, wait_until
from mlflow import MlflowClient
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from servers import free_port, kill, mlflow_server, wait_for

CHARTS = ["train_accuracy_step", "train_loss_step", "valid_accuracy", "valid_loss", "watch/grad_norm", "watch/lr"]
CURVES = ["grad_norm", "lr", "train_accuracy_step", "train_loss_step", "valid_accuracy", "valid_loss"]
LAST = "test_accuracy"  # is logged last: a run that has it has all the others


@contextmanager
def tensorboard_server(folder: Path) -> Iterator[str]:
    """Yield the address of `tensorboard --logdir outputs` in `folder`, once it has read all runs."""
    port, program = free_port(), str(Path(sys.executable).with_name("tensorboard"))
    command = [program, "--logdir", "outputs", "--host", "127.0.0.1", "--port", str(port)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=folder, stdout=quiet, stderr=quiet, start_new_session=True)
    address, runs = f"http://127.0.0.1:{port}", len(list(folder.glob("outputs/**/tensorboard")))

    def all_read() -> bool:
        with urllib.request.urlopen(f"{address}/data/plugin/scalars/tags") as reply:
            return sum(LAST in tags for tags in json.load(reply).values()) == runs

    try:
        wait_for(address, process, SECONDS)
        wait_until(all_read)
        yield address
    finally:
        kill(process)


def coloured(picture: Locator) -> bool:
    """Return whether the chart has curves: an empty one is gray."""
    pixels_HWC = numpy.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("RGB")).astype(int)
    return bool((numpy.ptp(pixels_HWC, axis=2) > 30).sum() > 20)


def open_tensorboard(page: Page, address: str, tags: list[str]) -> Locator:
    """Open the page and return the cards of these tags, once each shows its curves."""
    page.goto(f"{address}/?tagFilter={quote(one_of(tags))}#timeseries")
    cards = page.locator("metrics-filtered-view card-view")
    expect(cards).to_have_count(len(tags), timeout=1000 * SECONDS)
    for card in cards.all():
        bring_into_view(card)
        chart = card.locator("line-chart .series-view")
        wait_until(lambda chart=chart: coloured(chart))
    return cards


def open_mlflow(page: Page, address: str, experiment: str, metrics: list[str]) -> Locator:
    """Open the page and return the cards of these metrics, once each shows its curves."""
    found = MlflowClient(address).get_experiment_by_name(experiment)
    page.goto(f"{address}/#/experiments/{found.experiment_id}/runs?compareRunsMode=CHART")
    page.get_by_placeholder("Search metric charts").fill(one_of(metrics))
    cards = page.get_by_test_id("experiment-view-compare-runs-card")
    expect(cards).to_have_count(len(metrics), timeout=1000 * SECONDS)
    for card in cards.all():

        def has_curves(card=card) -> bool:
            bring_into_view(card)  # each time, since MLflow replaces cards after a search
            return card.locator(".scatterlayer path.js-line, .scatterlayer path.point").count() > 0

        wait_until(has_curves)
    return cards


def bring_into_view(card: Locator) -> None:
    """Scroll to the card: both pages draw only what is in view.

    Playwright's own method raises an error if the page replaces the card while it waits.
    """
    card.evaluate("card => card.scrollIntoView({block: 'center'})")


def one_of(names: list[str]) -> str:
    return f"^({'|'.join(names)})$"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--experiment", default="Default", help="the experiment that MLflow shows")
    parser.add_argument("--output", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    with chromium() as page:
        with tensorboard_server(arguments.folder) as address:
            page.set_viewport_size({"width": 1400, "height": 860})
            open_tensorboard(page, address, CHARTS)
            save(page, arguments.output / "tensorboard.png")
        with mlflow_server(arguments.folder) as (address, _):
            page.set_viewport_size({"width": 1300, "height": 1060})
            open_mlflow(page, address, arguments.experiment, CURVES)
            save(page, arguments.output / "mlflow.png")
