"""Markdown and HTML in comments, classes, settings and folder names are shown as text, in a real browser."""

import itertools
import json
import re
import shutil

import module_run
import pytest
from PIL import Image
from servers import explore_server

from explore.words import JOINER

pytestmark = pytest.mark.processes

pytest.importorskip("streamlit", reason="Streamlit is not installed: make install")
browser = pytest.importorskip("browser", reason="Playwright is not installed: make install")
explore_page = pytest.importorskip("explore_page")
HOSTILE = "<img src=x onerror=alert(1)> **b** [x](javascript:1) $a$ `c` :red[r] www.x.example -> &lt; _i_"
LINKED = f"{HOSTILE} :material/home: http://x.example"  # which no folder can be called
# what Markdown or HTML would be made of these
MADE = ["img[src=x]", "strong:text-is('b')", "a:text-is('x')", ".katex", "code:text-is('c')", "span:text-is('r')"]
MADE += ["[aria-label='home icon']", "a[href*='x.example']", "em"]
CLASSES = [f"{number} {HOSTILE}" for number in range(3)]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Two whole runs on classes of such names, with such comments, settings and folders; and a damaged one."""
    folder = tmp_path_factory.mktemp("hostile")
    for part, name, number in itertools.product(("train", "test"), CLASSES, range(8)):
        path = folder / "images" / part / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (12, 12), 30 * number).save(path)
    data = ["data=image_folder", f"data.root={folder}/images", "data.image_size=[12,12]", "data.channels=1"]
    data += ["data.valid=0.25", "hparams.max_epochs=1", "callbacks=[basic]", "loggers=none", "hparams.batch_size=8"]
    for name, model in (("first", ["hparams.patch_size=4"]), ("second", ["model=cnn"])):
        run = module_run.trained(folder, *data, *model)
        copied = folder / "page" / "outputs" / HOSTILE / run.parent.name / f"{run.name[:8]}_{HOSTILE}_{name}"
        shutil.copytree(run, copied)
        record = json.loads((copied / "run.json").read_text())
        record["comment"] = f"{name} {LINKED}"
        record["settings"] |= {"model": LINKED, "data": LINKED}
        (copied / "run.json").write_text(json.dumps(record))
    damaged = copied.with_name(f"23-59-59_{HOSTILE}")
    damaged.mkdir()
    (damaged / "run.json").write_text("{")
    return folder / "page"


@pytest.fixture(scope="module")
def page(hostile):
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no Chromium")
    with explore_server(hostile) as (address, _), browser.chromium() as page:
        page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
        explore_page.open_list(page, address)
        yield page


def nothing_was_made(page):
    explore_page.settle(page)
    return [each for each in MADE if page.locator(each).count()]


def shown(page):
    return page.locator("[data-testid=stApp]").inner_text().replace(JOINER, "")


def test_the_list(page):
    page.get_by_role("combobox", name="Run (of").click()
    assert page.get_by_role("option").first.inner_text().count(HOSTILE[:60]) == 3  # model, data, comment
    page.keyboard.press("Escape")
    page.get_by_text("that cannot be opened").click()
    page.get_by_text(re.compile("damaged")).wait_for()
    assert HOSTILE in shown(page)
    assert nothing_was_made(page) == []


def test_the_run_that_is_chosen_and_another(page):
    explore_page.pick(page, "Run (of", "first ")
    page.get_by_text("with probability").wait_for()
    assert page.locator("h1").inner_text().replace(JOINER, "").count(HOSTILE[:60]) == 2
    text = shown(page)
    assert LINKED in text  # the comment
    assert text.count(CLASSES[0][:60]) >= 2  # above the bars and in them
    assert nothing_was_made(page) == []

    explore_page.pick(page, "Compared with", "second ")
    page.get_by_text("first / second run").wait_for()
    assert nothing_was_made(page) == []
    for view, words in (("Test set", "are misclassified"), ("Number of patches", "has no free number of patches")):
        page.get_by_text(view, exact=True).click()
        page.get_by_text(words).wait_for()
        assert nothing_was_made(page) == []


def test_a_run_that_cannot_be_opened(page, hostile):
    (run,) = hostile.glob("outputs/*/*/*_first")
    (run / "checkpoints" / "best.ckpt").write_text("nothing")
    page.reload()
    page.get_by_text("Choose a run in the list").wait_for()
    explore_page.pick(page, "Run (of", "first ")
    page.get_by_text("cannot be opened:").wait_for()
    assert HOSTILE in shown(page)
    assert nothing_was_made(page) == []
