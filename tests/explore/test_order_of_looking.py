"""A network that has learned where to look, on the page: what it answers after each patch, and where it looks next."""

import re
import shutil

import module_run
import pytest
import torch
from servers import explore_server

from command import cli
from explore.opened_run import OpenedRun, open_network, open_source, read_config
from explore.order_panel import MOST_CLASSES, next_scores, step_probabilities, steps_table
from explore.selection_panel import Selection
from explore.test_set_logits import compute_logits

pytestmark = pytest.mark.long  # trains a network

pytest.importorskip("streamlit", reason="Streamlit is not installed: make install")
from explore.chosen_set import ChosenSet, cut, draw_corners  # noqa: E402

OPTIONS = ("data=digits", "model=canvas", "hparams.patch_size=3", "hparams.patch_num_max=4", "hparams.max_epochs=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with outputs/ of one small run, of model/selection=glimpse."""
    folder = tmp_path_factory.mktemp("glimpses")
    module_run.trained(folder, *OPTIONS, "model/selection=glimpse", "callbacks=[basic]", "loggers=none")
    return folder


@pytest.fixture(scope="module")
def run(folder):
    cli.register_resolvers()
    (run,) = (folder / "outputs").glob("*/*/*")
    config = read_config(run)
    source, names = open_source(config)
    network, task = open_network(run, config)
    return OpenedRun(run, "", network, source, names, task)


def selected(run, index, number):
    image = run.source.inputs(torch.tensor([index]))[0]
    corners = draw_corners(run.network, image, index, number)
    elements = cut(run.network, image, corners)
    return Selection(run, index, image, int(run.source.targets[index]), ChosenSet(corners), elements)


def test_the_page_offers_twice_as_many_patches_as_in_training(run):
    assert run.cuts_patches
    assert run.looks_in_order
    assert run.offered_patch_num == 8


def test_a_step_is_the_network_s_answer_to_so_many_patches(run):
    rows = step_probabilities(selected(run, 5, 3))
    assert len(rows) == 8
    image, before = run.source.inputs(torch.tensor([5])), run.network.patch_num
    for number, row in enumerate(rows, 1):
        run.network.patch_num = number
        expected_K = run.network(image, torch.tensor([5]))[0].softmax(0)
        torch.testing.assert_close(torch.tensor(row), expected_K, rtol=1e-4, atol=1e-5)
    run.network.patch_num = before


def test_the_next_place_is_the_one_that_is_chosen_next(run):
    corners = draw_corners(run.network, run.source.inputs(torch.tensor([9]))[0], 9, 8)
    for number in range(1, 8):
        scores_RX = next_scores(selected(run, 9, number))
        assert divmod(int(scores_RX.argmax()), 6) == corners[number]


def test_the_test_set_is_classified_from_the_number_of_patches_that_is_asked_for(run):
    index_M = torch.arange(20)
    few, many = (compute_logits(run, index_M, number, lambda _: None) for number in (1, 4))
    torch.testing.assert_close(many, run.network(run.source.inputs(index_M), index_M))
    assert not torch.allclose(few, many, atol=1e-3)


def test_the_table_has_the_likeliest_classes_and_the_true_one():
    rows = [[0.0, 0.1, 0.9, *7 * [0.0]], [0.6, 0.1, 0.3, *7 * [0.0]]]
    table = steps_table(["<b>", *map(str, range(1, 10))], rows, now=2, label=7)
    assert re.findall(r"<th(?: class=ps-true)?>([^<]*)</th>", table) == ["", "1", "&lt;b&gt;", "1", "2", "3", "7 ✓"]
    assert re.findall(r"<th class=ps-now>(\d+)", table) == ["2"]
    cells = re.findall(r"rgba\(240,138,36,([\d.]+)\)\">(\d+)<", table)
    assert cells[:6] == [
        ("0.000", "0"),
        ("0.600", "60"),
        ("0.100", "10"),
        ("0.100", "10"),
        ("0.900", "90"),
        ("0.300", "30"),
    ]
    assert len(cells) == 2 * MOST_CLASSES


def test_of_many_numbers_some_are_shown_and_the_present_one():
    table = steps_table(["0", "1"], 60 * [[0.5, 0.5]], now=10, label=0)
    numbers = [int(number) for number in re.findall(r"<th(?: class=ps-now)?>(\d+)</th>", table)]
    assert numbers[:20] == [3, 6, 9, 10, 12, *range(15, 60, 3)]
    assert table.count("<td") == 2 * 21


@pytest.mark.processes
def test_the_slider_goes_through_the_patches_in_their_order(folder):
    explore_page = pytest.importorskip("explore_page")
    browser = pytest.importorskip("browser", reason="Playwright is not installed: make install")
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no Chromium")
    with explore_server(folder) as (address, _), browser.chromium() as page:
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        explore_page.open_page(page, address)
        page.get_by_text("Patches seen, in the order of choice").wait_for()
        page.get_by_text("the scores of the next patch").wait_for()
        for number in (3, 2):
            page.get_by_role("slider").press("ArrowLeft")
            page.locator(".ps-now", has_text=str(number)).wait_for()
            page.get_by_text(f"{number} in the set").wait_for()
            explore_page.settle(page)
            true_row = page.locator(".ps-steps tr", has=page.locator(".ps-true"))
            after = int(true_row.locator("td").nth(number - 1).inner_text())
            bar = page.locator(".ps-bars .ps-true ~ .ps-value").first.inner_text()
            assert abs(100 * float(bar) - after) <= 0.51
        assert not errors
