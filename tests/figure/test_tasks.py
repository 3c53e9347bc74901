"""Each task gets the figures that fit it, from a training as a user starts it."""

import pytest
from runs import record
from small_tasks import arguments

pytestmark = pytest.mark.long
SHOWN = ("+loggers.recorder._target_=recorder.Recorder", "+loggers.recorder.folder=${hydra:runtime.output_dir}/shown")
ALWAYS = {"inputs"}
FIGURES = {
    "regression": {"patches", "scatter", "worst_images"},
    "two values": {"patches", "scatter", "worst_images"},
    "count": {"patches", "scatter", "worst_images"},
    "multilabel": {"patches", "labels", "worst_images"},
    "points": {"scatter", "worst_images"},
    "classes of vectors": {"confusion_matrix", "worst_images"},
    "mixture": set(),
}


@pytest.mark.parametrize("task", FIGURES)
def test_each_task_has_its_figures_and_none_of_another(train, task):
    folder = train(*arguments(task), "callbacks=[basic,pictures]", *SHOWN)
    assert record(folder)["status"] == "finished"
    names = {path.stem.split("_at_")[0] for path in (folder / "shown" / "pictures").glob("*.png")}
    assert names == ALWAYS | FIGURES[task]
    log = (folder / "train.log").read_text()
    assert "left out" not in log, "a figure of another task is not missed"
    assert "no picture" not in log


def test_a_network_that_returns_weights_too_has_all_figures(train, command):
    options = (
        "model=attention_mil",
        "+model.network.returns=[weights]",
        "hparams.max_epochs=1",
        "hparams.patch_num_max=8",
    )
    folder = train("data=digits", *options, "callbacks=[basic]", "loggers=none")
    points = ("figures.embedding.points=60", "figures.patch_embedding.points=40")
    assert command("visualize", f"run={folder}", *points) == 0
    of_classes = {"confusion_matrix", "evidence", "embedding", "patch_embedding", "first_filters"}
    assert {path.stem for path in (folder / "figures").glob("*.png")} == ALL | of_classes
    assert "no picture" not in (folder / "visualize.log").read_text()


ALL = {"layer_table", "worst_images", "feature_maps"}
MORE = {
    "count": ALL | {"scatter", "embedding", "patch_embedding", "first_filters"},
    "multilabel": ALL | {"labels", "first_filters"},
    "points": ALL | {"scatter", "embedding", "patch_embedding"},
}


@pytest.mark.parametrize("task", MORE)
def test_visualize_draws_what_fits_the_task(train, command, task):
    folder = train(*arguments(task), "callbacks=[basic]")
    points = ("figures.embedding.points=60", "figures.patch_embedding.points=40")
    assert command("visualize", f"run={folder}", "image=3", *points) == 0
    assert {path.stem for path in (folder / "figures").glob("*.png")} == MORE[task]
    assert "no picture" not in (folder / "visualize.log").read_text()
