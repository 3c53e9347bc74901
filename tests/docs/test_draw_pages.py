"""Tests of TensorBoard's and MLflow's pages in a real browser: each shows what a run has logged."""

import re
import runpy
import shutil
import sys
from types import SimpleNamespace

import numpy
import pytest
from mlflow import MlflowClient
from PIL import Image
from runs import REPOSITORY, record
from servers import mlflow_server

pytestmark = pytest.mark.processes

SHORT = ("data=digits", "hparams.max_epochs=2", "hparams.batch_size=64", "+trainer.log_every_n_steps=5")
SCRIPT = str(REPOSITORY / "docs" / "draw_pages.py")


@pytest.fixture(autouse=True)
def programs():
    pytest.importorskip("playwright", reason="Playwright is not installed: make install")
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no Chromium")


@pytest.fixture
def store(monkeypatch, one_mlflow_store):
    """MLflow's store in the folder of the test."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


@pytest.fixture
def pages():
    return SimpleNamespace(**runpy.run_path(SCRIPT))


@pytest.fixture
def see(pages):
    """`see(locator)` waits until the page shows it."""
    return lambda locator: pages.expect(locator.first).to_be_visible(timeout=1000 * pages.SECONDS)


def loaded(pages, image):
    """Wait until the image has loaded and can be decoded."""
    image.first.wait_for()
    pages.wait_until(lambda: image.first.evaluate("image => image.naturalWidth > 0"))


def test_draws_both_pages(train, tmp_path, monkeypatch, store):
    train(*SHORT, "comment=one")
    train(*SHORT, "comment=two", "hparams.lr=0.01")
    monkeypatch.setattr(sys, "argv", ["draw_pages.py", str(tmp_path), "--output", str(tmp_path)])
    runpy.run_path(SCRIPT, run_name="__main__")
    assert (tmp_path / "mlflow.png").read_bytes().startswith(b"\x89PNG")
    with Image.open(tmp_path / "tensorboard.png") as picture:
        pixels_HWC = numpy.asarray(picture.convert("RGB")).astype(int)
    charts = pixels_HWC[250:, 560:]  # right of the names of the runs, below the page's header
    _, counts = numpy.unique(charts[numpy.ptp(charts, axis=2) > 30], axis=0, return_counts=True)
    assert (counts > 100).sum() >= 2  # as many colours as runs


def test_tensorboard(train, tmp_path, pages, see):
    folder = train(*SHORT, "loggers=tensorboard", "comment=look here")
    with pages.tensorboard_server(tmp_path) as address, pages.chromium() as page:
        cards = pages.open_tensorboard(page, address, ["train_loss_step", "valid_accuracy", "watch/lr"])
        tags = ["".join(card.locator(".tag").inner_text().split()) for card in cards.all()]
        assert tags == ["train_loss_step", "valid_accuracy", "watch/lr"]
        run = f"{folder.relative_to(tmp_path / 'outputs')}/tensorboard"
        see(page.get_by_text(run))

        page.goto(f"{address}/#images")
        page.reload()
        for picture in ("confusion_matrix", "evidence", "inputs", "patches", "worst_images"):
            see(page.get_by_text(f"pictures/{picture}"))
        see(page.get_by_text(run))
        loaded(pages, page.locator("tf-image-loader img"))

        page.goto(f"{address}/#hparams")
        page.reload()
        table, metrics = page.locator("tf-hparams-table-view"), record(folder)["metrics"]
        final = [f"{metrics[name]:#.5g}" for name in ("valid_accuracy", "test_loss")]
        for text in ("batch_size", "64.000", "look here", "digits", *final):
            see(table.get_by_text(text, exact=True))


def test_mlflow(train, tmp_path, pages, see, store):
    folder = train(*SHORT, "loggers=mlflow", "comment=look here", "tags=[baseline]")
    with mlflow_server(tmp_path) as (address, _), pages.chromium() as page:
        for card in pages.open_mlflow(page, address, "Default", ["grad_norm", "train_loss_step", "valid_loss"]).all():
            see(card.get_by_text(re.compile(folder.name)))
            line = card.locator(".scatterlayer path.js-line").first
            assert "L" in line.get_attribute("d")  # from point to point
        client = MlflowClient(address)
        (run,) = client.search_runs([client.get_experiment_by_name("Default").experiment_id])
        home = f"{address}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"

        page.goto(home)
        see(page.get_by_role("heading", name=folder.name))
        for text in ("Finished", "look here", "baseline", "batch_size"):
            see(page.get_by_text(text, exact=True))
        see(page.get_by_role("row").filter(has_text="final/valid_loss"))
        rows = dict(text.split("\n", 1) for text in page.get_by_role("row").all_inner_texts() if "\n" in text)
        for name, value in record(folder)["metrics"].items():
            assert float(rows[f"final/{name.replace('=', '_')}"]) == pytest.approx(value)

        page.goto(f"{home}/artifacts")
        for name in ("checkpoints", "config.yaml", "metrics.csv", "run.json", "source", "train.log"):
            see(page.get_by_text(name, exact=True))
        page.get_by_text("pictures", exact=True).click()
        page.get_by_text(re.compile("^confusion_matrix")).click()
        loaded(pages, page.locator("img[src^=blob], img[src*=confusion_matrix]"))
