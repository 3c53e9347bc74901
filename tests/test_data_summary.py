"""data_summary.py: what it prints is the YAML that the data set needs, and nothing is written."""

import re

import numpy as np
import pytest
import yaml
from configs import CONFIG, composed
from PIL import Image
from small_tasks import ARGUMENTS, Points
from tiny_mnist import write_mnist

SETTINGS = {
    "features": 2,
    "mean": [0.0],
    "std": [1.0],
    "batch_size": 4,
    "seed": 0,
    "split_seed": 0,
    "valid": 0,
    "fold": None,
    "num_folds": 5,
    "limit_train": None,
    "num_workers": 0,
}


def facts(printed):
    """Return the facts in the output as YAML, and as the settings of the last line."""
    block = printed[printed.index("num_classes:") :]
    lines, _, words = block.rstrip().rpartition("\n\n")
    settings = dict(word.strip("'").removeprefix("data.").split("=") for word in words.split())
    return yaml.safe_load(lines), {name: yaml.safe_load(value) for name, value in settings.items()}


def test_prints_what_the_yaml_of_a_data_set_says(command, capsys, tmp_path):
    assert command("data_summary", "data=digits", "data.valid=0") == 0
    printed = capsys.readouterr().out
    given, settings = facts(printed)
    recorded = composed("data=digits").data
    assert given == {"num_classes": 10, "channels": 1, "image_size": [8, 8], "mean": [0.3052], "std": [0.376]}
    assert settings == {"mean": recorded.mean, "std": recorded.std}
    assert re.search(r"all\W+1,442\W+0\W+355\W", printed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [4, 0], ids=["in memory", "batch by batch"])
def test_measures_the_training_images_of_a_folder(command, capsys, tmp_path, limit):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (13, 12, 16, 3), np.uint8)
    pixels[..., 2] = 51  # a channel without contrast
    for i, image in enumerate(pixels):
        part, name = ("valid", "a") if i >= 10 else ("train", "ab"[i % 5 == 0])
        folder = tmp_path / "images" / part / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    options = ("data=image_folder", f"data.root={tmp_path}/images", "data.image_size=[12,16]", "data.num_workers=0")
    assert command("data_summary", *options, f"data.memory_limit_gib={limit}") == 0
    captured = capsys.readouterr()
    given, settings = facts(captured.out)
    expected = pixels[:10] / 255
    np.testing.assert_allclose(given["mean"], expected.mean((0, 1, 2)), rtol=5e-4)
    np.testing.assert_allclose(given["std"], [*expected.std((0, 1, 2))[:2], 1], rtol=5e-4)
    assert {name: given[name] for name in settings} == settings
    assert "all pixels of channel 2 are equal" in captured.out
    assert re.search(r"b\W+2\W+0\W+0\W", captured.out)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_of_many_classes_those_with_the_fewest_images_are_shown(command, capsys, tmp_path):
    for k in range(30):
        for i in range(30 - k):
            path = tmp_path / "images" / "train" / f"c{k:02}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (2, 2), 20 * (i % 2)).save(path)
    options = ("data=image_folder", f"data.root={tmp_path}/images", "data.image_size=[2,2]", "data.valid=0")
    assert command("data_summary", *options) == 0
    table = capsys.readouterr().out
    assert re.findall(r"(c\d\d)\W+(\d+)\W", table) == [(f"c{k}", str(30 - k)) for k in range(29, 19, -1)]
    assert re.search(r"20 others, each \(verbosity=2 shows all\)\W+11 to 30\W+0 to 0\W", table)
    assert re.search(r"all\W+465\W+0\W+0\W", table)
    assert command("data_summary", *options, "verbosity=2") == 0
    assert len(re.findall(r"c\d\d\W+\d+\W", capsys.readouterr().out)) == 30


def test_what_it_prints_of_a_folder_is_a_whole_yaml(command, capsys, tmp_path):
    for name in "ab":
        folder = tmp_path / "my images" / "train" / name
        folder.mkdir(parents=True)
        for i in range(6):
            Image.new("L", (8, 8), 20 * i).save(folder / f"{i}.png")
    options = ("data.root=my images", "data.channels=1", "data.image_size=[8,8]", "data.valid=0", "data.white=255")
    assert command("data_summary", "data=image_folder", *options) == 0
    printed = capsys.readouterr().out
    block = printed[printed.index("# config/data/NAME.yaml") :].rpartition("\n\n")[0]
    (tmp_path / "config" / "data").mkdir(parents=True)
    (tmp_path / "config" / "data" / "mine.yaml").write_text(block)
    short = ("model=lenet", "hparams.max_epochs=1", "loggers=none", "callbacks=[basic]")
    assert command("train", f"--config-dir={tmp_path}/config", "data=mine", *short) == 0
    (folder,) = tmp_path.glob("outputs/*/*/*")
    data = yaml.safe_load((folder / "config.yaml").read_text())["data"]
    assert (data["root"], data["white"], data["num_classes"], data["valid"]) == ("my images", 255, 2, 0.1)
    assert data["mean"] == [pytest.approx(50 / 255, rel=1e-3)]


@pytest.mark.parametrize("known", [{}, {"mean": [127], "std": [0]}], ids=["unknown", "wrong"])
def test_a_data_set_needs_no_mean_and_std_to_be_measured(command, capsys, tmp_path, known):
    data = yaml.safe_load((CONFIG / "data" / "digits.yaml").read_text())["data"]
    data = {name: value for name, value in data.items() if name not in ("mean", "std", "valid")} | known
    (tmp_path / "config" / "data").mkdir(parents=True)
    (tmp_path / "config" / "data" / "mine.yaml").write_text("# @package _global_\n" + yaml.safe_dump({"data": data}))
    assert command("data_summary", f"--config-dir={tmp_path}/config", "data=mine", "data.limit_train=30") == 0
    captured = capsys.readouterr()
    assert facts(captured.out)[0]["num_classes"] == 10
    assert re.search(r"all\W+30\W+144\W+355\W", captured.out)  # data.valid=0.1 of 1442


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["data=digits,MNIST", "-m"], "-m: data_summary.py takes one value for each setting; only train.py sweeps"),
        (["data=dgits"], "did you mean data=digits?"),
        (["data=image_folder", "~data._target_"], "data._target_ is missing: the YAML of a data set names its class"),
        (["data=digits", "data.channels=3"], "say (3, 8, 8): correct these"),
    ],
)
def test_refuses_in_one_line(command, capsys, tmp_path, options, line):
    assert command("data_summary", *options) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert line in captured.err
    assert list(tmp_path.iterdir()) == []


def test_measures_the_features_of_vectors_of_data_without_classes(command, capsys):
    options = [word for word in ARGUMENTS["points"] if not word.startswith(("data.mean", "data.std", "+model"))]
    assert command("data_summary", "data=digits", *options, "data.num_workers=0") == 0
    printed = capsys.readouterr().out
    lines, _, words = printed[printed.index("target_shape:") :].rstrip().rpartition("\n\n")
    given = yaml.safe_load(lines)
    values_NF = Points(asked="value", **SETTINGS).load("train").members.values.double().numpy()
    assert (given["target_shape"], given["features"]) == ([], 2)
    np.testing.assert_allclose(given["mean"], values_NF.mean(0), rtol=5e-4)
    np.testing.assert_allclose(given["std"], values_NF.std(0), rtol=5e-4)
    assert words == f"'data.mean={given['mean']}' 'data.std={given['std']}'".replace(", ", ",")
    assert re.search(r"all\W+160\W+40\W+40\W", printed)


def test_data_with_several_tasks_have_a_table_for_each(command, capsys, tmp_path):
    write_mnist(tmp_path, train=250, test=30)
    sizes = ("data.train_images=20", "data.valid_images=2", "data.test_images=3", "data.image_size=[150,150]")
    options = ("data=megapixel_mnist", f"data.root={tmp_path}", "task=[majority,multi]", "data.valid=80", *sizes)
    assert command("data_summary", *options) == 0
    tables = capsys.readouterr().out.split("majority")[1].split("multi")
    row = r"(?m)^[^\w\n]*\d[^\w\n]+(\d+)[^\w\n]+(\d+)[^\w\n]+(\d+)[^\w\n]*$"
    of_label, of_digits = (
        [sum(map(int, each)) for each in zip(*re.findall(row, table), strict=True)] for table in tables
    )
    assert of_label == [20, 2, 3], "one label for each image"
    assert all(2 * n <= count <= 3 * n for n, count in zip((20, 2, 3), of_digits, strict=True)), "two or three digits"
