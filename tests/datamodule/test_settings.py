import pytest
from omegaconf import OmegaConf

from datamodule.settings import check
from process.errors import UserError


def config(**data):
    facts = {"channels": 3, "mean": [0.5, 0.5, 0.5], "std": [0.25]}
    return OmegaConf.create({"data": facts | data, "hparams": {"patch_size": 15}})


@pytest.mark.parametrize("facts", [{}, {"mean": [0], "std": [1]}, {"mean": [1.0], "channels": 1}])
def test_what_normalises_pixels_in_0_to_1(facts):
    check(config(**facts))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"mean": [125.3, 123, 113.9], "std": [63, 62.1, 66.7]},
            "data.mean=[125.3,123,113.9] data.std=[63,62.1,66.7]: in 0..255, and the networks take pixels in 0..1: "
            "data.mean=[0.4914,0.4824,0.4467] data.std=[0.2471,0.2435,0.2616]",
        ),
        ({"mean": [127.5]}, "data.mean=[127.5]: in 0..255, and the networks take pixels in 0..1: data.mean=[0.5]"),
        ({"std": [0.9, 51, 51]}, "pixels in 0..1: data.std=[0.003529,0.2,0.2]"),
        ({"mean": [6553.5], "std": [255]}, "in 0..65535, and the networks take pixels in 0..1: data.mean=[0.1]"),
        ({"std": [0.2, 0, 0.2]}, "data.std=[0.2, 0, 0.2]: must be > 0 and <= 1"),
        ({"std": [-0.2]}, "data.std=[-0.2]: must be > 0"),
        ({"std": [float("nan")]}, "data.std=[nan]: must be > 0"),
        ({"mean": [-0.5]}, "data.mean=[-0.5]: pixels are in 0..1, so their mean is too"),
        ({"mean": [float("inf")]}, "data.mean=[inf]: pixels are in 0..1"),
        ({"mean": [0.5, 0.5]}, "data.mean=[0.5, 0.5]: give 1 number, or 3, as data.channels=3"),
        ({"std": [0.5, 0.5, 0.5], "mean": [0.5], "channels": 1}, "give 1 number, as data.channels=1"),
    ],
)
def test_another_mean_or_std_is_refused_with_the_right_one(facts, words):
    with pytest.raises(UserError) as refused:
        check(config(**facts))
    assert words in str(refused.value)


@pytest.mark.parametrize("name", ["run", "resume"])
def test_a_trained_network_keeps_what_it_was_trained_with(name):
    check(OmegaConf.merge(config(mean=[127.5]), {name: "outputs/x"}))


def sets(hparams=(), network=None, **data):
    """Return the config of sets of vectors, or of images if features is None."""
    facts = {"features": 2, "channels": None, "image_size": None, "mean": [5.0], "std": [0.5, 7.0], "set_size": [1, 3]}
    model = {"network": network or {"patch_size": None}}
    augmentation = {"crop_padding": 0, "flip": False}
    base = {"hparams": {"patch_size": None} | dict(hparams), "model": model}
    return OmegaConf.create(base | {"data": facts | augmentation | data})


GRID = {"patch_size": None, "selection": {"_target_": "selection.grid.Grid"}}
IMAGES = {"features": None, "channels": 1, "image_size": [28, 28], "std": [1.0], "mean": [0.5]}


@pytest.mark.parametrize("data", [{}, {"max_elements": 4}, {"mix": 4, "num_classes": 2, "set_size": None}, IMAGES])
def test_sets_of_vectors_and_of_images_pass(data):
    check(sets(hparams={"patch_size": 28} if data is IMAGES else (), **data))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"network": GRID}, "selection=grid: this data set holds vectors, nothing is cut"),
        (
            {"flip": True},
            "vectors are neither cropped, flipped nor warped: data.crop_padding=0 data.flip=false data.warp=0",
        ),
        ({"crop_padding": 2}, "vectors are neither cropped, flipped nor warped"),
        ({"mean": [1, 2, 3]}, "data.mean=[1, 2, 3]: give 1 number, or 2, as data.features=2"),
        ({"std": [1.0, 0.0]}, "data.std=[1.0, 0.0]: must be > 0"),
        ({"network": {"hidden": 5}}, "holds vectors, and the network takes images: choose model=patch_set"),
        ({"features": None}, "data.channels or data.image_size is null: give both of images, or data.features"),
        (IMAGES | {"hparams": {"patch_size": 5}}, "patch_size=5: nothing is cut out of the 28x28 images of a set"),
        (IMAGES | {"set_size": None, "max_elements": 3}, "data.max_elements=3: this data set holds images, not sets"),
        (IMAGES | {"set_size": None, "mix": 3}, "data.mix=3: this data set holds images, not bags: data.mix=null"),
        ({"mix": 3}, "data.mix=3: these sets are drawn anew in each step already: data.mix=null"),
        ({"set_size": None, "num_classes": 3, "mix": 0}, "data.mix=0: only bags that are labelled 0 or 1, by whether"),
    ],
)
def test_what_does_not_fit_sets_is_refused(settings, words):
    with pytest.raises(UserError) as refused:
        check(sets(**settings))
    assert words in str(refused.value)
