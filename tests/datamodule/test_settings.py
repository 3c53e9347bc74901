import pytest
from omegaconf import OmegaConf

from datamodule.settings import check
from process.errors import UserError


def config(**data):
    facts = {"channels": 3, "mean": [0.5, 0.5, 0.5], "std": [0.25]}
    return OmegaConf.create({"data": facts | data, "hparams": {"patch_size": 15, "patch_mode": "random"}})


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
