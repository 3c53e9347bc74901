"""predict.py classifies any images, with nothing but the run folder."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
from module_run import trained
from PIL import Image
from runs import REPOSITORY, record
from sklearn.datasets import load_digits

ONCE = ("model.network.selection.replace=false", "hparams.patch_num_max=16")
NAMES = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]


@pytest.fixture(scope="module")
def patch_set(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("patch_set"), "data=digits", "hparams.max_epochs=4", "loggers=none")


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("cnn"), "data=digits", "model=cnn", "hparams.max_epochs=1", "loggers=none")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The 355 test digits as image files, in one folder per class."""
    root = tmp_path_factory.mktemp("photos")
    digits, rank = load_digits(), [0] * 10
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        rank[label] += 1
        if rank[label] % 5 == 0:
            path = root / str(label) / f"{number:04}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray((pixels * 255 / 16).round().astype(np.uint8)).save(path)
    return root


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_agrees_with_the_training_s_own_test(cnn, photos, command):
    before = (cnn / "run.json").read_bytes()
    assert command("predict", f"run={cnn}", f"input={photos}") == 0
    rows = table(cnn / "predictions.csv")
    assert [row["file"] for row in rows] == sorted(str(path) for path in photos.rglob("*.png"))
    hits = sum(Path(row["file"]).parent.name == row["class"] for row in rows)
    assert hits / len(rows) == pytest.approx(record(cnn)["metrics"]["test_accuracy"], abs=1e-6)
    assert list(rows[0]) == ["file", "class", "probability", *(f"p({digit})" for digit in range(10))]
    for row in rows:
        probabilities = [float(row[f"p({digit})"]) for digit in range(10)]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert row["class"] == str(np.argmax(probabilities))
        assert float(row["probability"]) == max(probabilities)
    assert (cnn / "run.json").read_bytes() == before
    assert list(cnn.parent.iterdir()) == [cnn], "no run of its own"


def test_the_commands_own_yaml_is_that_of_its_code(cnn, photos, command, tmp_path):
    """The copy of the config in the run may be older than the code."""
    folder = shutil.copytree(cnn, tmp_path / "old")
    (folder / "source" / "config" / "predict.yaml").write_text("draws: [")
    (folder / "source" / "config" / "hydra" / "help" / "predict.yaml").unlink()
    assert command("predict", f"run={folder}", f"input={photos}", "draws=1") == 0
    assert len(table(folder / "predictions.csv")) == 355


def test_a_run_that_chose_its_patches_by_hparams_patch_mode_is_still_read(patch_set, photos, command, tmp_path):
    folder = shutil.copytree(patch_set, tmp_path / "old")
    config = folder / "source" / "config"
    older = {
        config / "config.yaml": ("  pool: [mean", "  patch_mode: random\n  patch_replace: true\n  pool: [mean"),
        config / "model" / "patch_set.yaml": (
            "  sets: ${holds_sets:}",
            "  patch_mode: ${hparams.patch_mode}\n  patch_replace: ${hparams.patch_replace}",
        ),
    }
    for path, (new, old) in older.items():
        text = path.read_text().replace("  - selection: random # which patches of an image are cut\n", "")
        assert text.count(new) == 1
        path.write_text(text.replace(new, old))
    shutil.rmtree(config / "model" / "selection")
    for run, file in ((patch_set, "new.csv"), (folder, "old.csv")):
        assert command("predict", f"run={run}", f"input={photos}", "draws=1", f"output={file}") == 0
    assert (tmp_path / "new.csv").read_bytes() == (tmp_path / "old.csv").read_bytes()
    assert command("predict", f"run={folder}", f"input={photos}", "hparams.patch_mode=grid", "output=grid.csv") == 0
    assert "spread" not in table(tmp_path / "grid.csv")[0]


def test_draws_depend_on_the_image_alone(patch_set, photos, command, tmp_path):
    run = f"run={patch_set}"
    assert command("predict", run, f"input={photos}", "output=all.csv") == 0
    assert command("predict", run, f"input={photos}", "output=small.csv", "hparams.batch_size=7") == 0
    one = sorted(photos.rglob("*.png"))[100]
    assert command("predict", run, f"input={one}", "output=one.csv") == 0
    everything = table(tmp_path / "all.csv")
    for row, other in zip(
        [*everything, everything[100]], table(tmp_path / "small.csv") + table(tmp_path / "one.csv"), strict=True
    ):
        assert (row["file"], row["class"]) == (other["file"], other["class"])
        numbers = [name for name in row if name not in ("file", "class")]
        assert [float(row[n]) for n in numbers] == pytest.approx([float(other[n]) for n in numbers], abs=2e-6)
    hits = sum(Path(row["file"]).parent.name == row["class"] for row in everything)
    assert hits / len(everything) == pytest.approx(record(patch_set)["metrics"]["test_accuracy"], abs=0.04)
    assert 0 < float(everything[0]["spread"]) < 0.5


def test_more_patches_draw_less_spread(patch_set, photos, command, tmp_path):
    for number in (1, 200):
        arguments = (f"input={photos}/3", f"patch_num={number}", f"output={number}.csv", "draws=4")
        assert command("predict", f"run={patch_set}", *arguments) == 0
    few, many = (np.mean([float(row["spread"]) for row in table(tmp_path / f"{number}.csv")]) for number in (1, 200))
    assert many < few / 2
    assert command("predict", f"run={patch_set}", f"input={photos}/3", "draws=1", "output=once.csv") == 0
    assert "spread" not in table(tmp_path / "once.csv")[0]


def test_any_image_under_any_name_and_the_unreadable_at_the_end(cnn, command, tmp_path, capsys):
    folder = tmp_path / "a, b = {c}"
    (folder / "日本").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 4), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "日本" / "犬.png")
    Image.fromarray(noise[..., :3]).save(folder / 'a "quoted", name.JPG')
    Image.fromarray(noise[..., 0]).save(folder / "[red]grey.png")
    Image.fromarray(noise[..., 0]).save(os.fsencode(folder) + b"/\xff.png", "png")
    (folder / "broken.jpg").write_bytes((folder / 'a "quoted", name.JPG').read_bytes()[:300])
    (folder / "empty.png").touch()
    (folder / ".hidden.png").touch()
    (folder / "notes.txt").touch()
    Image.fromarray(noise[..., 0]).save(folder / "${x}\n.png")
    assert command("predict", f"run={cnn}", f"input={folder}", "output=out.csv") == 0
    names = [row["file"].removeprefix(f"{folder}/") for row in table(tmp_path / "out.csv")]
    assert sorted(names) == sorted(["[red]grey.png", 'a "quoted", name.JPG', "\\xff.png", "日本/犬.png", r"${x}\n.png"])
    assert (tmp_path / "out.csv").read_bytes().startswith(b"\xef\xbb\xbf"), "Excel reads Japanese by this"
    shown = capsys.readouterr().out
    assert re.search(r"images +│ 5 .*\n.*unreadable +│ 2 .*\n.*predicted +│ \d: \d", shown)
    assert "[red]grey.png" in shown
    assert "left out by their ending: 1 (.txt)" in shown
    for name in ("broken.jpg", "empty.png"):
        line = f"{folder}/{name}: cannot be read as an image"
        assert line in shown
        assert line in (cnn / "predict.log").read_text(encoding="utf-8")


def test_a_zip_a_pattern_and_workers_see_the_same(cnn, photos, command, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "digits.zip", "w") as archive:
        for path in [*photos.glob("1/*.png"), *photos.glob("7/*.png")]:
            archive.write(path, path.relative_to(photos))
        archive.writestr("__MACOSX/1/._x.png", b"")
        archive.writestr("1/broken.png", b"not an image")
    assert command("predict", f"run={cnn}", "input=digits.zip", "output=zip.csv", "data.num_workers=2") == 0
    assert command("predict", f"run={cnn}", f"input={photos}/**/[17]/*.png", "output=pattern.csv") == 0
    zipped, matched = table(tmp_path / "zip.csv"), table(tmp_path / "pattern.csv")
    assert [row["file"].removeprefix("digits.zip/") for row in zipped] == [
        row["file"].removeprefix(f"{photos}/") for row in matched
    ]
    assert [row["p(1)"] for row in zipped] == [row["p(1)"] for row in matched]
    assert (tmp_path / "zip.csv").read_bytes().startswith(b"file,"), "plain where all names are"
    monkeypatch.chdir(photos)
    assert command("predict", f"run={cnn}", "input=1/*.png", f"output={tmp_path}/relative.csv") == 0
    assert table(tmp_path / "relative.csv")[0]["file"].startswith("1/")


def test_a_path_is_no_interpolation(cnn, photos, command, tmp_path):
    shutil.copytree(photos / "3", tmp_path / "${x}")
    assert command("predict", f"run={cnn}", "input=${x}", "output=${y}.csv") == 0
    assert table(tmp_path / "${y}.csv")[0]["file"].startswith("${x}/")


def test_needs_no_training_data(command, tmp_path, capsys):
    for label, name in enumerate(NAMES[:3]):
        for number in range(8):
            path = tmp_path / "data" / "train" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(number).integers(0, 80, (12, 10, 3), dtype=np.uint8)
            noise[..., label] += 150
            Image.fromarray(noise).save(path)
    facts = (f"data.root={tmp_path}/data", "data.image_size=[8,8]", "hparams.batch_size=8")
    run = trained(tmp_path, "data=image_folder", *facts, "model=cnn", "hparams.max_epochs=1", "loggers=none")
    assert record(run)["class_names"] == sorted(NAMES[:3])
    (tmp_path / "data" / "train" / "zwei").rename(tmp_path / "new")
    shutil.rmtree(tmp_path / "data")
    assert command("predict", f"run={run}", "input=new") == 0
    rows = table(run / "predictions.csv")
    assert list(rows[0])[3:] == [f"p({name})" for name in sorted(NAMES[:3])]
    assert rows[0]["file"] == "new/0.png"
    facts = record(run)
    del facts["class_names"]  # a run of an older version
    (run / "run.json").write_text(json.dumps(facts))
    assert command("predict", f"run={run}", "input=new") == 0
    assert list(table(run / "predictions.csv")[0])[3:] == ["p(0)", "p(1)", "p(2)"]
    assert "given by number" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run=nowhere", "input=x"], "no run folder"),
        (["input=x"], "which run? run=FOLDER"),
        (["run={}"], "which images? input=PATH"),
        (["run={}", "input="], "which images? input=PATH"),
        (["run={}", "input=nowhere.png"], "input=nowhere.png: nothing is there"),
        (["run={}", f"input={300 * 'x'}"], "File name too long: give an image"),
        (["run={}", "input=~nobody_at_all/x"], "Could not determine home directory.: give an image"),
        (["run={}", "input=empty"], "input=empty: no image there"),
        (["run={}", "input=broken.zip"], "broken.zip: not a readable .zip"),
        (["run={}", "input=broken"], "a.png: cannot be read as an image"),
        (["run={}", "input=broken"], ", nor the other 1"),
        (["run={}", "input=3.png", "output=no/where.csv"], "name a file in an existing folder"),
        (["run={}", "input=3.png", "output=empty"], "name a file in an existing folder"),
        (["run={}", "input=3.png", "output=pipe"], "name a file in an existing folder"),
        (["run={}", "input=3.png", "output=null"], "output=null: must be a text"),
        (["run={}", "input=3.png", f"output={300 * 'x'}"], "File name too long: name a file"),
        (["run={}", "input=3.png", f"ckpt={300 * 'x'}"], "File name too long: name a file, best or last"),
        (["run={}", "input=3.png", "draws=0"], "draws=0: must be a whole number >= 1"),
        (["run={}", "input=3.png", "patch_num=0"], "patch_num=0: must be a whole number >= 1"),
        (["run={}", "input=3.png", "patch_num=100000000000000"], "need too much memory: choose a smaller"),
        (["run={}", "input=3.png", *ONCE, "patch_num=17"], "<= 16"),
        (["run={}", "input=3.png", "model/selection=grid", "patch_num=4"], "does not draw patches"),
        (["run={}", "input=3.png", "places=true"], "places=true: this network does not choose where to look"),
        (["run={}", "input=3.png", "model.network.selection=null"], "this network cuts no patches"),
        (["run={}", "input=3.png", "ckpt={}/run.json"], "cannot read the checkpoint"),
        (["run={}", "input=3.png", "model=cnn"], "does not fit"),
        (["run={}", "inptu=3.png"], "did you mean input?"),
    ],
)
def test_one_clear_line(patch_set, photos, command, tmp_path, capsys, arguments, line):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path in ("broken/a.png", "broken/b.png", "broken.zip"):
        (tmp_path / path).write_bytes(b"damaged")
    shutil.copy(next((photos / "3").iterdir()), tmp_path / "3.png")
    (patch_set / "predictions.csv").write_text("as it was")
    before = sorted(tmp_path.rglob("*"))
    assert command("predict", *[argument.format(patch_set) for argument in arguments]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert line in error
    assert (patch_set / "predictions.csv").read_text() == "as it was"
    assert sorted(tmp_path.rglob("*")) == before, "nothing is left behind"


@pytest.mark.long
def test_the_places_that_a_network_has_chosen_are_written_in_their_order(photos, train, command, tmp_path, capsys):
    small = ("hparams.patch_size=3", "hparams.patch_num_max=4", "hparams.max_epochs=1", "loggers=none")
    run = train("data=digits", "model=canvas", "model/selection=fixed", *small)
    assert command("predict", f"run={run}", f"input={photos}", "output=out.csv", "places=true", "patch_num=3") == 0
    assert "out_places.csv" in capsys.readouterr().out
    files, places = [row["file"] for row in table(tmp_path / "out.csv")], table(tmp_path / "out_places.csv")
    assert [row["file"] for row in places] == [name for name in files for _ in range(3)]
    assert [row["patch"] for row in places] == len(files) * ["1", "2", "3"]
    assert len({(row["patch"], row["x"], row["y"]) for row in places}) == 3, "the same places in all images"
    assert command("predict", f"run={run}", f"input={photos}", "output=other.csv") == 0
    assert not (tmp_path / "other_places.csv").exists()


@pytest.mark.processes
def test_ctrl_c_at_a_terminal_comes_to_workers_too_who_say_nothing(patch_set, photos, tmp_path):
    program = [sys.executable, str(REPOSITORY / "src" / "predict.py"), f"run={patch_set}", f"input={photos}"]
    long = ("draws=100000", "data.num_workers=1", "output=out.csv")
    process = subprocess.Popen(
        [*program, *long], cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    parent = psutil.Process(process.pid)
    while not any(child.cmdline() == parent.cmdline() and child.num_threads() > 1 for child in parent.children()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130
    assert said.startswith(b"interrupted by SIGINT\n")
    # a thread of Python's own may still speak, where a worker that connects to it is ended: but no worker does
    assert b"Interrupted" not in said


def test_ctrl_c_leaves_the_old_table(cnn, photos, command, tmp_path, capsys):
    (tmp_path / "out.csv").write_text("as it was")
    bar = "callbacks.progress_bar"
    fault = {"name": "SIGINT", "batch": 1, "during": "predict"}
    interrupt = [f"{bar}._target_=faults.Signal", f"~{bar}.verbosity", *(f"+{bar}.{n}={v}" for n, v in fault.items())]
    small = ("output=out.csv", "hparams.batch_size=8")
    assert command("predict", f"run={cnn}", f"input={photos}", *small, *interrupt) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "as it was"
