from functools import partial

import pytest
import torch
from given_logits import noise, shown_in_test
from torch import nn

from figure import feature_maps
from figure.feature_maps import FeatureMaps, heated, most_varied, scaled
from network.cnn_embed import CNNEmbed
from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from selection.grid import Grid
from selection.random_places import RandomPlaces
from set_module.reduce_pool import ReducePool
from set_module.sab import SAB
from set_module.set_batch import SetBatch

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")
SETS = {"channels": 1, "image_size": (6, 5), "mean": [0.5], "std": [0.5], "num_outputs": 3, "seed": 0, "hidden": [4]}
PATCHES = {"patch_size": 4, "patch_num_min": 2, "patch_num_max": 3, "pool": partial(ReducePool, reductions=["mean"])}


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 5, 1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.LazyLinear(3),
        )

    def forward(self, images_BCHW, index_B=None):
        return self.layers(images_BCHW.float() / 255)


@pytest.mark.parametrize("embed", [partial(MLPEmbed, widths=[8, 6]), partial(CNNEmbed, widths=[8, 6])])
@pytest.mark.parametrize("mode", ["random", "grid", None])
@pytest.mark.parametrize("encoder", [None, partial(SAB, heads=2)])
def test_of_a_set_each_patch_has_a_row(tmp_path, monkeypatch, embed, mode, encoder):
    drawn, draw = [], feature_maps.drawn_patches
    monkeypatch.setattr(feature_maps, "drawn_patches", lambda *rest: drawn.append(rest) or draw(*rest))
    size = PATCHES if mode else {**PATCHES, "patch_size": 5}
    selection = {"random": RandomPlaces, "grid": Grid, None: None}[mode]
    network = PatchSet(embed=embed, encoder=encoder, selection=selection, **SETS, **size)
    images = noise(5, 1, 6, 5)
    if mode is None:
        bags = SetBatch(images[:, :, :5], torch.tensor([2, 3]))
        trainer = type("Trainer", (), {"datamodule": None, "is_global_zero": True, "loggers": []})()
        FeatureMaps(0).draw(trainer, network.eval(), bags[[1]], torch.tensor(1), torch.tensor([0]))
        count = 3
    else:
        callback = FeatureMaps(4)
        names = shown_in_test(callback, tmp_path, torch.zeros(5, 3), torch.arange(5) % 3, images, network)
        assert names == ["feature_maps_at_0.png"]
        count = {"random": 12, "grid": 4}[mode]
        assert mode == "grid" or network.patch_num == (2, 3), "as many patches as before"
    ((_, title, heading, patches, layers),) = drawn
    assert title == ("bag 0, 1" if mode is None else "image 4, class 1")
    assert heading == ("patch" if mode else "element")
    assert len(patches) == count
    assert len(layers) == 2 + (encoder is not None)
    assert all(layer.values.shape[0] == count for layer in layers)
    assert all(layer.values.isfinite().all() for layer in layers)


def test_the_maps_that_vary_most_in_their_order():
    values_nChw = torch.tensor([0.0, 3.0, 1.0, 2.0])[None, :, None, None] * torch.tensor([0.0, 1.0])
    assert most_varied(values_nChw, 2) == [1, 3]


def test_colours_go_from_the_smallest_to_the_largest():
    picture = heated(scaled(torch.tensor([[2.0, 3.0, 4.0]])))
    brightness = [sum(picture.getpixel((x, 0))) for x in range(3)]
    assert brightness == sorted(brightness)
    assert brightness[2] - brightness[0] > 500
    assert heated(scaled(torch.ones(2, 2))).getpixel((0, 0)) == picture.getpixel((0, 0)), "of a constant, nothing"


def test_an_image_that_is_not_tested_is_said(tmp_path, caplog):
    caplog.set_level("INFO")
    assert shown_in_test(FeatureMaps(5), tmp_path, torch.zeros(5, 3), torch.arange(5) % 3, None, Plain()) == []
    assert "image 5 was not among those tested" in caplog.text


@pytest.mark.parametrize("number", [-1, "x", 1.5])
def test_what_is_no_number_of_an_image_is_refused(number):
    with pytest.raises(ValueError, match=r"^image=.*: choose a whole number >= 0$"):
        FeatureMaps(number)
