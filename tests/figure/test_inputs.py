import numpy
import pytest
import yaml
from given_logits import noise
from PIL import Image
from pytorch_lightning.loggers.logger import DummyLogger
from resumed import SAVING, SHORT, assert_same
from runs import REPOSITORY

from figure import inputs
from figure.inputs import Inputs, image_and_patches, rows_of_bags
from figure.picture import SIDE

NETWORKS = sorted(path.stem for path in (REPOSITORY / "config" / "model").glob("*.yaml"))

PICTURES = ("callbacks=[basic,pictures]", "loggers=none", "+loggers.recorder._target_=recorder.Recorder")
SHOWN = "+loggers.recorder.folder=${hydra:runtime.output_dir}/shown"


def shown(folder) -> list[str]:
    return sorted(path.name for path in (folder / "shown" / "pictures").glob("*"))


def test_the_first_batch_as_the_network_gets_it(train, monkeypatch):
    given, seen = [], []
    original = Inputs._show
    monkeypatch.setattr(Inputs, "_show", lambda self, *a: given.append(a[2]) or original(self, *a))
    monkeypatch.setattr(inputs, "image_and_patches", lambda *a: seen.append(a) or image_and_patches(*a))
    folder = train(*SHORT, *PICTURES, SHOWN, "hparams.max_epochs=1", "data.crop_padding=2", "callbacks.inputs.sets=3")
    assert shown(folder)[2:4] == ["inputs_at_0.png", "patches_at_0.png"]
    ((images_BCHW, labels_B, _),) = given
    assert len(seen) == 3
    for images, number, corners_N2, patches_NCpp, name in seen:
        image_CHW = images[number]
        for (y, x), patch in zip(corners_N2.tolist(), patches_NCpp, strict=True):
            side = patch.shape[-1]
            assert (image_CHW[:, y : y + side, x : x + side] == patch).all()
        assert name in {str(label) for label in labels_B.tolist()}
    with Image.open(folder / "shown" / "pictures" / "inputs_at_0.png") as picture:
        pixels = numpy.array(picture)
    first = pixels[8 + 19 : 8 + 19 + SIDE // 2, 8 : 8 + SIDE // 2, 0]
    assert (first[7::14, 7::14] == images_BCHW[0, 0].numpy()).all()  # 8 pixels, each 14 wide


def test_a_resumed_run_does_not_show_them_again_and_is_the_one_never_stopped(train, broken_off, resume):
    options = (*SHORT, *SAVING, *PICTURES, SHOWN, "hparams.max_epochs=2")
    broken = broken_off(*options, batch=8)
    assert shown(broken) == ["inputs_at_0.png", "patches_at_0.png"]
    assert resume(broken) == 0  # the recorder refuses to show a picture of a step twice
    assert [name.split("_at_")[0] for name in shown(broken)] == [
        "confusion_matrix",
        "evidence",
        "inputs",
        "patches",
        "worst_images",
    ]
    assert_same(train(*options), broken)


@pytest.mark.parametrize("model", ["patch_set", "bag_of_patches", "cnn"])
def test_pictures_change_nothing_that_is_trained(train, model):
    options = (*SHORT, "hparams.max_epochs=2", f"model={model}")
    without, with_pictures = train(*options, "callbacks=[basic]", "loggers=none"), train(*options, *PICTURES, SHOWN)
    assert len(shown(with_pictures)) == (3 if model == "cnn" else 5)
    assert_same(without, with_pictures)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_debug_run_of_every_network_passes_through_all_of_it(train, monkeypatch, network):
    drawn = []
    monkeypatch.setattr(DummyLogger, "log_image", lambda _, *picture: drawn.append(picture), raising=False)
    shown = ("callbacks=[basic,pictures,histograms]", "debug=True", "trainer.precision=bf16-mixed")
    folder = train("data=digits", f"model={network}", "trainer=cpu", *shown)
    cuts = "sets" in yaml.safe_load((folder / "config.yaml").read_text())["model"]["network"]
    classifies = network != "masked_autoencoder"  # others have no confusion matrix, evidence and worst images
    assert len(drawn) == (2 if not classifies else 5 if cuts else 3)
    assert "no picture" not in (folder / "train.log").read_text()


def test_bags_have_rows():
    bags = [noise(3, 1, 6, 6), noise(40, 1, 6, 6), noise(1, 1, 6, 6)]
    picture = rows_of_bags(bags, ["with 9", "without", "with 9"])
    side = SIDE // 4
    rows = 1 + 2 + 1  # 16 elements to a row, 32 at most of a bag
    assert picture.size[0] == 16 * (side + 2) - 2
    assert picture.size[1] == rows * side + 2 + 3 * 19 + 2 * 8


def test_nothing_is_done_for_loggers_that_take_no_pictures(train, monkeypatch):
    monkeypatch.setattr(Inputs, "_show", None)
    folder = train(*SHORT, "callbacks=[basic,pictures]", "loggers=none", "hparams.max_epochs=1")
    assert "no picture" not in (folder / "train.log").read_text()


def test_a_number_below_one_is_refused():
    with pytest.raises(ValueError, match=r"inputs\.sets=0"):
        Inputs(images=1, sets=0)
