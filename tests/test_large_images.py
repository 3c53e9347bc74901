"""Large images from the command line: every command takes them, and memory does not grow with them."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from configs import composed
from large import pixels, write, write_sparse_tiff
from resumed import SAVING, assert_same
from runs import REPOSITORY, record

from explore.opened_run import open_source
from process.errors import UserError

SETTINGS = ("hparams.patch_size=24", "hparams.patch_num_max=8", "hparams.max_epochs=2", "hparams.batch_size=4")
PEAK = "import re,pathlib; print(re.findall(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[0])"


@pytest.fixture
def root(tmp_path):
    """Dark and bright images of different sizes, in files of three kinds."""
    for number in range(15):
        part, kind = ("test" if number > 9 else "train"), (".npy", ".zarr", ".tif")[number % 3]
        image = pixels(90 + 7 * number, 140 - 3 * number, seed=number) // 2 + 120 * (number % 2)
        write(tmp_path / "slides" / part / "ab"[number % 2] / f"{number}{kind}", image.astype(np.uint8))
    return tmp_path / "slides"


@pytest.fixture
def run(root, train):
    return train("data=large_images", f"data.root={root}", *SETTINGS, "model/position=sinusoidal", "loggers=none")


@pytest.mark.long
def test_every_command_takes_them(run, root, command, tmp_path):
    facts = record(run)
    assert facts["class_names"] == ["a", "b"]
    assert {"train": 8, "valid": 2, "test": 5}.items() <= facts["data"].items()
    assert command("evaluate", f"run={run}", "sizes=[2]") == 0
    result = json.loads((run / "evaluation.json").read_text())
    assert result["images"] == 5
    assert result["test_loss"] == pytest.approx(facts["metrics"]["test_loss"], rel=1e-5)
    shutil.copytree(root / "test", tmp_path / "new")
    (tmp_path / "new" / "a" / "broken.tif").touch()
    write(tmp_path / "new" / "a" / "small.npy", pixels(23, 90))
    assert command("predict", f"run={run}", f"input={tmp_path}/new", f"output={tmp_path}/found.csv", "draws=3") == 0
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).stem for row in rows] == ["10", "12", "14", "11", "13"]
    assert command("visualize", f"run={run}") == 0
    figures = {path.name for path in (run / "figures").iterdir()}
    assert {"layer_table.md", "feature_maps.png", "worst_images.png", "embedding.png"} <= figures
    assert "no picture" not in (run / "visualize.log").read_text()
    assert command("export", f"run={run}", "formats.pt2=null") == 0
    session = onnxruntime.InferenceSession(run / "export" / "model_patches.onnx")
    assert [each.name for each in session.get_inputs()] == ["patches", "mask", "corners"]
    assert session.get_inputs()[2].type == "tensor(float)"
    assert not (run / "export" / "model.onnx").exists()


def test_the_page_says_that_it_shows_whole_images(root):
    with pytest.raises(UserError, match="this page shows whole images"):
        open_source(composed("data=large_images", f"data.root={root}"))


@pytest.mark.long
def test_a_resumed_run_reads_the_patches_of_the_whole_run(root, train, broken_off, resume):
    words = ("data=large_images", f"data.root={root}", *SETTINGS, "loggers=none", *SAVING)
    whole, crashed = train(*words), broken_off(*words, batch=3)
    assert resume(crashed) == 0
    assert_same(whole, crashed)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=cnn"], "the network takes whole images: choose model=patch_set"),
        (["model=canvas"], "the network takes whole images: choose model=patch_set"),
        (["model=masked_autoencoder", "hparams.patch_num_max=32"], "a masked autoencoder needs one size"),
        (["model/selection=glimpse"], "places are learned from whole images: choose model/selection=random or grid"),
        (["model/position=learned"], "no table of places is learned: choose model/position=sinusoidal"),
        (["data.flip=true"], "neither cropped, flipped nor warped"),
        (["data.level=1"], "has no level 1: choose data.level <= 0"),
        (["data.magnification=20"], "data.magnification is for slides"),
        (["hparams.patch_size=95"], "pixels, smaller for a patch of hparams.patch_size=95"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(root, command, capsys, words, message):
    assert command("train", "data=large_images", f"data.root={root}", *SETTINGS, "loggers=none", *words) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1]


def peak_gib(folder: Path, *command: str) -> float:
    """Run a command in a process of its own and return the most memory that it had, in GiB."""
    code = f"import runpy,sys; sys.argv={list(command)!r}; sys.path.insert(0, {str(REPOSITORY / 'src')!r})\n"
    code += f"try: runpy.run_path(sys.argv[0], run_name='__main__')\nfinally: {PEAK}"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.findall(r"^\d+$", done.stdout, re.MULTILINE)[-1]) / 2**20


def write_slides(root: Path, side: int, tile: int, filled: int) -> None:
    for number in range(6):
        path = root / ("test" if number > 3 else "train") / "ab"[number % 2] / f"{number}.tif"
        write_sparse_tiff(path, side, tile, 100 + 100 * (number % 2), filled)


@pytest.mark.long
@pytest.mark.processes
def test_images_of_40000_pixels_are_trained_on_and_predicted_within_2_gib(tmp_path):
    write_slides(tmp_path / "slides", 40_000, 512, filled=20)
    script = [str(REPOSITORY / "src" / f"{name}.py") for name in ("train", "predict")]
    words = ["data=large_images", "data.root=slides", "hparams.max_epochs=2", "hparams.batch_size=2", "loggers=none"]
    trained = peak_gib(tmp_path, script[0], *words, "hydra.run.dir=run", "model/position=sinusoidal")
    predicted = peak_gib(tmp_path, script[1], "run=run", "input=slides/test", "output=found.csv", "draws=2")
    print(f"peak: training {trained:.2f} GiB, prediction {predicted:.2f} GiB")
    assert max(trained, predicted) < 2
    with (tmp_path / "found.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2


@pytest.mark.long
@pytest.mark.processes
def test_a_choice_among_all_patches_keeps_none_of_them(tmp_path):
    write_slides(tmp_path / "slides", 4_000, 256, filled=4)
    words = ["data=large_images", "data.root=slides", "hparams.max_epochs=1", "hparams.batch_size=4", "loggers=none"]
    train = [str(REPOSITORY / "src" / "train.py"), *words, "hparams.patch_num_max=10", "data.valid=0"]
    drawn = peak_gib(tmp_path, *train, "hydra.run.dir=random")
    ips = ["model=attention_mil", "model/selection=ips", "model.network.selection.chunk=32"]
    chosen = peak_gib(tmp_path, *train, "hydra.run.dir=ips", *ips)
    print(f"peak: random {drawn:.2f} GiB, ips {chosen:.2f} GiB")
    assert chosen < drawn + 0.25  # all patches of a batch are 0.8 GB
