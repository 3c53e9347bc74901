"""visualize.py draws figures of a trained network, and changes nothing else of its run."""

import csv
import shutil
from pathlib import Path

import module_run
import pytest
import torch
from configs import CONFIG, composed
from given_logits import Given, noise
from hydra.utils import instantiate
from mlflow import MlflowClient
from PIL import Image
from pytorch_lightning import Trainer
from runs import record
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from logger.figure_files import FigureFiles
from run.folder import locked

FIGURES = {"layer_table", "first_filters", "feature_maps", "embedding", "worst_images", "confusion_matrix"}
OF_SETS = {"patch_embedding", "evidence"}
FEW = ("figures.embedding.points=60", "figures.patch_embedding.points=40")
TRAINING = ("data=digits", "hparams.max_epochs=1", "hparams.patch_num_max=8", "callbacks=[basic]")
NETWORKS = sorted(path.stem for path in (CONFIG / "model").glob("*.yaml"))


def drawn(folder):
    return {path.stem for path in (folder / "figures").glob("*.png")}


def contents(folder, *but):
    """Return the content of each file of the run, except those that the command may write."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] not in but]
    return {path: path.read_bytes() for path in files}


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def mlflow_runs():
    client = MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client, {run.info.run_id: run for run in client.search_runs(experiments)}


def test_figures_come_as_files_and_to_the_run_s_loggers_which_get_nothing_else(train, command, capsys):
    folder = train(*TRAINING, "comment=it's, a = {test}")
    mine = {"figures", "tensorboard", "visualize.log"}
    scalars = EventAccumulator(str(folder / "tensorboard")).Reload().Tags()["scalars"]
    before, (_, runs_before) = contents(folder, *mine), mlflow_runs()
    capsys.readouterr()
    assert command("visualize", f"run={folder}", "image=7", *FEW) == 0
    printed = capsys.readouterr().out
    assert "multiply-adds" in printed
    assert drawn(folder) == FIGURES | OF_SETS
    assert contents(folder, *mine) == before
    assert list(folder.parent.iterdir()) == [folder], "no folder of its own"

    rows = rows_of(folder / "figures" / "layer_table.csv")
    assert sum(int(row["parameters"]) for row in rows) == record(folder)["parameters"]
    table = (folder / "figures" / "layer_table.md").read_text()
    assert "PatchSet: an image of 1 x 8 x 8, 8 patches of 5 x 5" in table
    assert f"{record(folder)['parameters']:,}" in table

    step = int(rows_of(folder / "metrics.csv")[-1]["step"])
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert {f"figures/{name}" for name in drawn(folder)} == set(events.Tags()["images"])
    assert [image.step for image in events.Images("figures/embedding")] == [step]
    assert events.Tags()["scalars"] == scalars

    client, runs_after = mlflow_runs()
    assert runs_after.keys() == runs_before.keys()
    for run_id, run in runs_after.items():
        assert run.to_dictionary() == runs_before[run_id].to_dictionary()
    own = "patch_sets.run_id"
    (run_id,) = [i for i, run in runs_after.items() if run.data.tags[own] == record(folder)["id"]]
    (found,) = [file for file in client.list_artifacts(run_id, "figures") if "worst_images" in file.path]
    with (
        Image.open(client.download_artifacts(run_id, found.path)) as kept,
        Image.open(folder / "figures" / "worst_images.png") as file,
    ):
        assert kept.tobytes() == file.tobytes()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a CNN; tests may draw its figures anew."""
    return module_run.trained(tmp_path_factory.mktemp("trained"), *TRAINING, "model=cnn", "loggers=mlflow")


def test_again_with_what_is_wanted_only(trained, command, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # a directory that knows nothing of the run
    arguments = ("figures.confusion_matrix=null", "figures.embedding.method=pca", "+trainer.limit_test_batches=1")
    assert command("visualize", f"run={trained}", "verbosity=0", *arguments) == 0
    assert drawn(trained) == FIGURES - {"confusion_matrix"}
    assert "it does not know this run" in capsys.readouterr().out
    assert not (tmp_path / "mlruns").exists()
    first = (trained / "figures" / "embedding.png").read_bytes()
    with locked(trained):  # as while it trains
        assert command("visualize", f"run={trained}", *arguments) == 0
    assert "its loggers get no images" in capsys.readouterr().out
    assert (trained / "figures" / "embedding.png").read_bytes() == first, "the same for the same run"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run=nowhere"], "no run folder"),
        ([], "which run? run=FOLDER"),
        (["run={}", "ckpt=first.ckpt"], "no checkpoint first.ckpt"),
        (["run={}", "ckpt={}/run.json"], "cannot read the checkpoint"),
        (["run={}", "model=lenet"], "does not fit"),
        (["run={}", "image=355"], "image=355: choose one of the test images, 0 to 354"),
        (["run={}", "image=-1"], "figures.feature_maps: image=-1: choose a whole number >= 0"),
        (["run={}", "figures=null"], "figures: none is left to draw"),
        (["run={}", "image=x"], "image=x: choose a whole number"),
        (["run={}", "figures.embedding.of=pixels"], "embedding.of=pixels: must be one of images, patches"),
        (["run={}", "figures.embedding.points=2"], "choose >= 3"),
        (["run={}", "figures.first_filters.count=x"], "first_filters.count=x: choose a whole number >= 1"),
        (["run={}", "figures.embeding=null"], "did you mean figures.embedding?"),
    ],
)
def test_one_clear_line(trained, command, capsys, arguments, line):
    before = contents(trained, "visualize.log")
    capsys.readouterr()
    assert command("visualize", *[argument.format(trained) for argument in arguments]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert line in error
    assert contents(trained, "visualize.log") == before


def test_where_nothing_can_be_written_no_logger_has_begun(trained, command, tmp_path, capsys):
    folder = shutil.copytree(trained, tmp_path / "copy")
    shutil.rmtree(folder / "figures", ignore_errors=True)
    (folder / "figures").touch()
    assert command("visualize", f"run={folder}", "loggers=tensorboard", "figures.embedding=null") == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"error: cannot write {folder / 'figures'}: ")
    assert "\n" not in error
    assert not (folder / "tensorboard").exists()


def test_a_debug_run_has_no_checkpoint(train, command, capsys):
    folder = train("data=digits", "debug=True", "model=cnn")
    assert command("visualize", f"run={folder}") == 1
    assert "debug runs keep none" in capsys.readouterr().err


@pytest.mark.parametrize(("network", "channels"), [*((name, 3) for name in NETWORKS), ("cnn", 1), ("patch_set", 1)])
def test_every_network_has_every_figure_of_its_kind(network, channels, tmp_path):
    overrides = (f"model={network}", "data=digits", f"data.channels={channels}", "data.mean=[0.5]", "data.std=[0.5]")
    config = composed(*overrides, "run=x", *FEW, "verbosity=0", name="visualize")
    torch.manual_seed(0)
    model = instantiate(config.model)
    figures = [instantiate(figure) for figure in config.figures.values() if figure is not None]
    files = FigureFiles(str(tmp_path / "figures"))
    trainer = Trainer(
        accelerator="cpu",
        logger=[files],
        callbacks=figures,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    data = Given(noise(12, channels, 8, 8), torch.arange(12) % 10, 6, [str(label) for label in range(10)])
    trainer.test(model, data, verbose=False)
    expected = FIGURES | (OF_SETS if "embed" in config.model.network else set())  # a canvas embeds no patches
    if network.endswith("quantized"):  # before it is trained, all activations are rounded to 0
        expected = expected - {"embedding"}
    if network == "masked_autoencoder":  # its outputs are features, of no class
        expected = expected - {"embedding", "worst_images"}
    assert {Path(name).stem for name in files.files if name.endswith("png")} == expected
