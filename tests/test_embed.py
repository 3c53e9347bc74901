"""embed.py writes the features of patches as bags, which data=feature_bags reads."""

import csv
import json

import numpy as np
import pytest
import torch
from configs import composed
from hydra.utils import instantiate
from large import pixels, write
from module_run import trained
from PIL import Image
from runs import record

from run.checkpoint import load_weights
from set_module.patch_cutout import PatchCutout

SMALL = ("data=digits", "hparams.patch_size=5")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    words = ("hparams.max_epochs=1", "data.limit_train=200", "loggers=none", "callbacks=basic", "sizes=[1]")
    return trained(tmp_path_factory.mktemp("run"), *SMALL, *words)


def draw(path, number, bright=0, shape=(9, 12)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(number).integers(0, 120, shape, dtype=np.uint8) + np.uint8(bright)
    Image.fromarray(image).save(path)
    return torch.from_numpy(image)[None, None]


def photos(root, train=4, test=2):
    for part, count in (("train", train), ("test", test)):
        for label, bright in (("dark", 0), ("light", 130)):
            for number in range(count):
                draw(root / part / label / f"{number}.png", 1000 * bright + 10 * number + len(part), bright)
    return root


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def embedding(run):
    network = instantiate(composed(*SMALL).model, _convert_="all").network
    weights = load_weights(run / "checkpoints" / "best.ckpt")
    network.load_state_dict({name.removeprefix("network."): value for name, value in weights.items()})
    return torch.nn.Sequential(*network.embed).eval()


@pytest.mark.parametrize("batch", ["7", "1000"])
def test_bags_are_the_run_s_features_of_each_patch_and_its_place(run, command, tmp_path, batch):
    image_11HW = draw(tmp_path / "photos" / "one, two.png", 1)
    draw(tmp_path / "photos" / "below" / "one.png", 2)
    words = ("input=photos", "output=bags", "stride=3", "dtype=float32", "files.image_size=null")
    assert command("embed", f"run={run}", *words, f"patches_per_batch={batch}", "verbosity=0") == 0
    found = torch.from_numpy(np.load(tmp_path / "bags" / "features" / "one, two.npy"))
    corners = [[y, x] for y in (0, 2, 4) for x in (0, 2, 5, 7)]
    with torch.no_grad():
        expected = embedding(run)(torch.cat([image_11HW[..., y : y + 5, x : x + 5] for y, x in corners]))
    torch.testing.assert_close(found, expected)
    coords = np.load(tmp_path / "bags" / "coords" / "one, two.npy")
    assert coords.tolist() == [[x, y] for y, x in corners]
    assert {path.name for path in (tmp_path / "bags").rglob("*.npy")} == {"one, two.npy", "one.npy"}
    assert not (tmp_path / "bags" / "bags.csv").exists(), "nothing states labels"


def test_places_are_those_of_the_cutout_and_the_same_in_each_call(run, command, tmp_path):
    image_11HW = draw(tmp_path / "one.png", 1)
    for mode, count in (("all", None), ("random", 6)):
        words = (f"cut={mode}", "patch_num=6", f"output={mode}", "patches_per_batch=4", "files.image_size=null")
        assert command("embed", f"run={run}", "input=one.png", *words, "verbosity=0") == 0
        cutout = PatchCutout(5, count, seed=0, mode=mode, replace=False).eval()
        corners = cutout.positions(image_11HW, torch.zeros(1, dtype=torch.int64))
        coords = np.load(tmp_path / mode / "coords" / "one.npy")
        assert coords[:, ::-1].tolist() == corners.values.tolist()
        features = np.load(tmp_path / mode / "features" / "one.npy")
        assert features.dtype == np.float16
        assert features.shape == (len(coords), 256)


def test_labels_parts_and_unusable_images(run, command, tmp_path, capsys):
    photos(tmp_path / "photos")
    for name in ("bad.png", "worse.png"):
        (tmp_path / "photos" / "train" / "dark" / name).write_bytes(b"no image")
    assert command("embed", f"run={run}", "input=photos", "output=bags") == 0
    shown = capsys.readouterr()
    (line,) = (line for line in (shown.out + shown.err).splitlines() if line.startswith("left out, 2: "))
    assert "bad.png" in line
    assert "worse.png" in line
    found = rows(tmp_path / "bags" / "bags.csv")
    assert [(row["bag"], row["label"], row["split"]) for row in found[:5]] == [
        *((f"train/dark/{number}", "dark", "train") for number in range(4)),
        ("train/light/0", "light", "train"),
    ]
    assert len(found) == 12
    assert found[-1] == {"bag": "test/light/1", "label": "light", "split": "test"}
    assert [path.name for path in (tmp_path / "bags").rglob("bad*")] == []


def test_only_what_is_missing_or_older_than_its_image_is_written(run, command, tmp_path, capsys):
    photos(tmp_path / "photos", train=2, test=1)
    words = ("embed", f"run={run}", "input=photos", "output=bags")
    assert command(*words) == 0
    features = tmp_path / "bags" / "features" / "train" / "dark"
    whole = (features / "0.npy").read_bytes()
    (features / "0.npy").write_bytes(whole[:-7])  # as no embed.py leaves it
    (features / ".1.npy.abcdefgh").write_bytes(b"of a process that was killed")
    before = {path: path.stat().st_ino for path in (tmp_path / "bags").rglob("*.npy")}
    capsys.readouterr()
    assert command(*words) == 0
    assert "bags that were there" in capsys.readouterr().out
    changed = [path for path, inode in before.items() if path.stat().st_ino != inode]
    assert {path.name for path in changed} == {"0.npy"}
    assert (features / "0.npy").read_bytes() == whole
    assert not list(features.glob(".*"))

    assert command(*words, "stride=2") == 1
    assert "holds bags of stride=null, not 2: choose another output" in capsys.readouterr().err
    assert command(*words, "ckpt=last", "stride=2", "output=other") == 0
    assert json.loads((tmp_path / "other" / "embedding.json").read_text())["features"]["stride"] == 2


def test_an_embedding_that_breaks_off_leaves_whole_bags_alone(run, command, tmp_path, capsys, monkeypatch):
    photos(tmp_path / "photos", train=2, test=1)
    from embedding.embedder import Embedder

    step = Embedder.predict_step
    calls = []

    def fails(self, batch, batch_idx):
        calls.append(batch_idx)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    words = ("embed", f"run={run}", "input=photos", "output=bags", "patches_per_batch=3")  # of bags of 4
    with monkeypatch.context() as patch:
        patch.setattr(Embedder, "predict_step", fails)
        assert command(*words) != 0
    left = [path for path in (tmp_path / "bags").rglob("*") if path.is_file() and path.suffix != ".json"]
    assert all(np.load(path).shape[0] == 4 for path in left), "no part of a bag"
    assert 0 < len(left) < 12
    assert not (tmp_path / "bags" / "bags.csv").exists()
    assert command(*words) == 0
    assert len(rows(tmp_path / "bags" / "bags.csv")) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which network? run=FOLDER"),
        (["run={run}"], "which images? input=PATH"),
        (["run={run}", "input=photos"], "where to? name a folder"),
        (["run={run}", "input=photos", "output=photos/train/dark/0.png"], "name a folder, such as output=bags"),
        (["run={run}", "input=nowhere", "output=bags"], "input=nowhere: nothing is there"),
        (
            ["run={run}", "input=photos", "output=bags", "cut=some"],
            "cut=some: must be one of grid, all, random",
        ),
        (["run={run}", "input=photos", "output=bags", "cut=all", "stride=2"], "for mode='grid' alone"),
        (["run={run}", "input=photos", "output=bags", "dtype=int8"], "dtype=int8: must be one of float16, float32"),
        (["run={run}", "input=photos", "output=bags", "cut=random"], "patch_num=64 exceeds the 16 places"),
    ],
)
def test_what_cannot_be_embedded_is_one_line_and_exit_code_1(run, command, tmp_path, capsys, words, message):
    photos(tmp_path / "photos", train=1, test=1)
    assert command("embed", *(word.format(run=run) for word in words)) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert message in line
    assert not list(tmp_path.glob("bags/**/*.npy"))


@pytest.mark.long
def test_large_images_are_read_patch_by_patch(command, train, tmp_path):
    for number in range(8):
        part = "test" if number > 5 else "train"
        image = pixels(60 + number, 90, seed=number) // 2 + 120 * (number % 2)
        write(tmp_path / "slides" / part / "ab"[number % 2] / f"{number}.npy", image.astype(np.uint8))
    words = ("hparams.patch_size=24", "hparams.max_epochs=1", "hparams.batch_size=4", "hparams.patch_num_max=4")
    run = train("data=large_images", "data.root=slides", *words, "loggers=none", "callbacks=basic", "sizes=[1]")
    assert command("embed", f"run={run}", "input=slides", "output=bags", "patches_per_batch=5", "verbosity=0") == 0
    coords = np.load(tmp_path / "bags" / "coords" / "train" / "a" / "0.npy")
    assert coords.tolist() == [[x, y] for y in (0, 18, 36) for x in (0, 22, 44, 66)]
    found = rows(tmp_path / "bags" / "bags.csv")
    assert [row["bag"] for row in found if row["split"] == "test"] == ["test/a/6", "test/b/7"]


@pytest.mark.long
def test_a_head_trained_on_the_bags_is_better_than_chance(run, command, train, tmp_path):
    photos(tmp_path / "photos", train=20, test=10)
    assert command("embed", f"run={run}", "input=photos", "output=bags", "verbosity=0") == 0
    words = ("model=attention_mil", "model/embed=linear", "hparams.max_epochs=8", "loggers=none", "callbacks=basic")
    folder = train("data=feature_bags", "data.root=bags", *words)
    assert record(folder)["class_names"] == ["dark", "light"]
    assert record(folder)["metrics"]["test_accuracy"] > 0.8


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """A ResNet-18 of torchvision and a file of its weights."""
    from torchvision.models import resnet18

    torch.manual_seed(3)
    network = resnet18()
    path = tmp_path_factory.mktemp("weights") / "resnet 18.pth"
    torch.save(network.state_dict(), path)
    network.fc = torch.nn.Identity()
    return network.eval(), path


MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@pytest.mark.parametrize("resize", [None, 40])
def test_bags_of_a_network_of_torchvision_without_a_run(resnet, command, tmp_path, resize):
    network, path = resnet
    image_11HW = draw(tmp_path / "photos" / "a" / "one.png", 1, shape=(32, 50))
    draw(tmp_path / "photos" / "b" / "two.png", 2, shape=(40, 33))
    side = "null" if resize is None else resize
    words = ("model=torchvision", "name=resnet18", f"weights={path}", "hparams.patch_size=32", f"resize={side}")
    assert command("embed", *words, "input=photos", "output=bags", "dtype=float32", "verbosity=0") == 0
    found = torch.from_numpy(np.load(tmp_path / "bags" / "features" / "a" / "one.npy"))
    patches = torch.cat([image_11HW[..., x : x + 32] for x in (0, 18)]).expand(-1, 3, -1, -1) / 255
    if resize is not None:
        patches = torch.nn.functional.interpolate(patches, (resize, resize), mode="bilinear", antialias=True)
    with torch.no_grad():
        torch.testing.assert_close(found, network((patches - MEAN) / STD), rtol=1e-4, atol=1e-4)
    assert np.load(tmp_path / "bags" / "coords" / "a" / "one.npy").tolist() == [[0, 0], [18, 0]]
    assert [(row["bag"], row["label"]) for row in rows(tmp_path / "bags" / "bags.csv")] == [
        ("a/one", "a"),
        ("b/two", "b"),
    ]
    facts = json.loads((tmp_path / "bags" / "embedding.json").read_text())
    assert (facts["library"], facts["weights"]) == ("torchvision", str(path))
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "bags"}, "no run folder, no log"


def test_bags_of_another_network_or_of_random_weights_are_continued_only_by_the_same(command, tmp_path, capsys):
    draw(tmp_path / "one.png", 1, shape=(32, 40))
    words = ("embed", "model=torchvision", "input=one.png", "output=bags", "hparams.patch_size=32", "resize=null")
    assert command(*words) == 0
    assert "weights=null: the weights are random" in capsys.readouterr().out
    (tmp_path / "bags" / "features" / "one.npy").unlink()
    assert command(*words) == 0, "random weights are those of the seed"
    capsys.readouterr()
    for other, message in (
        ("hparams.seed=1", "holds bags of weights="),
        ("resize=48", "holds bags of resize=null, not 48"),
        ("name=resnet34", "holds bags of name=resnet18, not resnet34"),
    ):
        assert command(*words, other) == 1
        assert message in capsys.readouterr().err


def test_bags_of_a_network_of_timm(command, tmp_path):
    pytest.importorskip("timm", reason="the extra timm is not installed")
    write(tmp_path / "slides" / "one.npy", pixels(40, 70))  # read patch by patch, as its ending says
    words = ("model=timm", "name=resnet10t", "resize=64", "hparams.patch_size=32", "verbosity=0")
    assert command("embed", *words, "input=slides", "output=bags") == 0
    assert np.load(tmp_path / "bags" / "features" / "one.npy").shape == (2 * 3, 512)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=resnet"], "model=resnet: choose torchvision or timm, with name=NAME, or run=FOLDER"),
        (["model=timm", "run={run}"], "which network? leave out one of them"),
        (["model=torchvision"], "which images? input=PATH"),
        (["model=torchvision", "name=resnet19"], "torchvision has no name='resnet19': choose resnet18"),
        (["model=torchvision", "weights=nowhere.pth"], "weights=nowhere.pth: No such file or directory"),
        (["model=torchvision", "resize=wide"], "resize='wide': choose a number of pixels, default, which is 224"),
    ],
)
def test_a_network_that_cannot_be_had_is_one_line(run, command, tmp_path, capsys, words, message):
    draw(tmp_path / "one.png", 1, shape=(32, 40))
    given = ["input=one.png", "output=bags", "hparams.patch_size=32"] if "which images" not in message else []
    assert command("embed", *(word.format(run=run) for word in words), *given) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert message in line
    assert not list(tmp_path.glob("bags/**/*.npy"))
