"""Runs of other tasks than classification, and of vectors: each view of the page, without an error."""

import sys

import module_run
import pytest
from runs import REPOSITORY
from small_tasks import ARGUMENTS, arguments

streamlit = pytest.importorskip("streamlit", reason="Streamlit is not installed: make install")
from explore.task_view import read_curves  # noqa: E402

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A folder with outputs/: of a run of each task."""
    folder = tmp_path_factory.mktemp("tasks")
    for task in ARGUMENTS:
        module_run.trained(folder, *arguments(task), "callbacks=[basic]", f"comment={task}")
    return folder


@pytest.fixture
def page(tasks, monkeypatch):
    """`page("count")` -> the page after the run of that task was chosen."""
    from streamlit.testing.v1 import AppTest

    def choose(task):
        streamlit.cache_resource.clear()
        monkeypatch.chdir(tasks)
        monkeypatch.setattr(sys, "argv", ["app.py"])
        drawn = AppTest.from_file(str(REPOSITORY / "src" / "explore" / "app.py"), default_timeout=120).run()
        (option,) = [each for each in drawn.sidebar.selectbox[0].options if f" · {task} · " in each]
        return drawn.sidebar.selectbox[0].select(_value(drawn, option)).run()

    return choose


def _value(drawn, option):
    from explore.runs import found_runs

    by_folder, name_of, _ = found_runs(("outputs", "multirun"))
    (folder,) = [folder for folder in by_folder if name_of[folder] == option]
    return folder


def sound(page):
    assert not page.exception
    assert not page.error
    return page


MONITORED = {
    "regression": "mae",
    "two values": "mae",
    "count": "exact",
    "multilabel": "exact_match",
    "points": "mae",
    "mixture": "log_likelihood",
}


@pytest.mark.parametrize("task", MONITORED)
def test_a_run_of_any_task_shows_items_curves_and_results(page, task):
    shown = sound(page(task))
    assert f" · {MONITORED[task]} " in shown.sidebar.selectbox[0].format_func(shown.sidebar.selectbox[0].value)
    assert f"test {MONITORED[task]} " in shown.caption[0].value.replace("\\", "")
    assert len(shown.dataframe) == (0 if task == "multilabel" else 1)
    shown = sound(shown.number_input[0].set_value(7).run())
    shown.session_state["view"] = "Curves"
    shown = sound(shown.run())
    assert shown.selectbox[0].value == MONITORED[task]
    shown.session_state["view"] = "Results and settings"
    shown = sound(shown.run())
    results, settings = (frame.value.set_index(frame.value.columns[0])["value"] for frame in shown.dataframe)
    assert f"test_{MONITORED[task]}" in results.index
    assert settings["data"] == "digits"


def test_sets_of_vectors_with_classes_have_the_views_of_classes(page):
    shown = sound(page("classes of vectors"))
    assert any("with probability" in text.value for text in shown.markdown)
    for view in ("Test set", "Number of patches"):
        shown.session_state["view"] = view
        shown = sound(shown.run())


def test_runs_of_other_tasks_beside_each_other(page):
    shown = page("regression")
    for number in range(len(ARGUMENTS) - 1):
        sound(shown.sidebar.selectbox[1].select_index(number).run())


def test_a_file_that_is_no_table_has_no_curves(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "epoch,step,train_loss,valid_mae,lr\n0,1,0.5,,1\n0,2,,0.25,1\n1,3,0.4,0.2,1\n"
    )
    assert read_curves(tmp_path / "metrics.csv") == {
        "train_loss": {1: 0.5, 2: 0.4},
        "valid_mae": {1: 0.25, 2: 0.2},
    }
    (tmp_path / "metrics.csv").write_bytes(b"\xff\x00train_loss\n")
    assert read_curves(tmp_path / "metrics.csv") == {}
    assert read_curves(tmp_path / "none.csv") == {}
