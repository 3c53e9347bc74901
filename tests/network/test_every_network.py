"""Every network takes any channels, image size and number of classes, and uint8 images only."""

from functools import partial

import pytest
import torch
from torch import nn

from network.bag_of_patches import BagOfPatches
from network.canvas import Canvas
from network.cnn import CNN
from network.cnn_embed import CNNEmbed
from network.lenet import LeNet
from network.lenet_bn import LeNetBN
from network.mil import MIL
from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from network.vgg import VGG11
from selection.grid import Grid
from selection.random_places import RandomPlaces
from set_module.dsmil import DSMIL
from set_module.pma import PMA
from set_module.position import LearnedPosition, SinusoidalPosition
from set_module.reduce_pool import ReducePool
from set_module.sab import SAB

REDUCE = partial(ReducePool, reductions=["mean", "max", "std"])
SETS = {"patch_size": 5, "patch_num_min": 1, "patch_num_max": 6, "seed": 0}
NARROW = {"embed": partial(MLPEmbed, widths=[16]), "hidden": [8], **SETS}
NETWORKS = {
    "cnn": partial(CNN, widths=[4, 8, 8]),
    "lenet": LeNet,
    "lenet_bn": LeNetBN,
    "vgg11": partial(VGG11, batch_norm=False),
    "vgg11_bn": partial(VGG11, batch_norm=True),
    "patch_set mlp": partial(
        PatchSet, pool=REDUCE, embed=partial(MLPEmbed, widths=[16, 16]), hidden=[8], dropout=0.5, **SETS
    ),
    "patch_set cnn": partial(PatchSet, pool=REDUCE, embed=partial(CNNEmbed, widths=[4, 8, 8]), **SETS),
    "patch_set sab pma": partial(PatchSet, pool=PMA, encoder=SAB, **NARROW),
    "patch_set sinusoidal": partial(PatchSet, pool=REDUCE, position=SinusoidalPosition, **NARROW),
    "patch_set grid": partial(PatchSet, pool=REDUCE, selection=Grid, **NARROW),
    "patch_set learned, no place twice": partial(
        PatchSet, pool=REDUCE, position=LearnedPosition, selection=partial(RandomPlaces, replace=False), **NARROW
    ),
    "canvas": partial(Canvas, body=partial(CNN, widths=[4, 8]), **SETS),
    "dsmil": partial(MIL, classifier=DSMIL, embed=partial(MLPEmbed, widths=[16]), **SETS),
    "bag_of_patches": partial(
        BagOfPatches, pool=partial(ReducePool, reductions=["mean"]), embed=partial(MLPEmbed, widths=[16]), **SETS
    ),
}
EVERY = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
SHAPES = [
    (3, 2, (8, 8)),
    (1, 7, (8, 8)),
    (1, 7, (28, 28)),
    (3, 2, (32, 32)),
    (3, 2, (64, 48)),
    (1, 7, (64, 48)),
    (3, 2, (224, 224)),
]


def images_of(b: int, c: int, h: int, w: int) -> torch.Tensor:
    return torch.randint(256, (b, c, h, w), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def build(network, channels: int = 1, size: tuple[int, int] = (16, 12), num_outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return network(channels=channels, image_size=size, num_outputs=num_outputs, mean=[0.5], std=[0.25])


@EVERY
@pytest.mark.parametrize(("channels", "num_outputs", "size"), SHAPES)
def test_every_shape_trains_and_one_image_is_evaluated(network, channels, num_outputs, size):
    model = build(network, channels, size, num_outputs)
    images = images_of(2, channels, *size)
    logits_BK = model(images)
    assert logits_BK.shape == (2, num_outputs)
    logits_BK.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    model.eval()
    with torch.no_grad():
        assert model(images[:1]).isfinite().all()


@EVERY
def test_one_image_equals_itself_in_a_batch(network):
    model = build(network).eval()
    images, index = images_of(5, 1, 16, 12), torch.arange(10, 15)
    with torch.no_grad():
        together = model(images, index)
        assert (together[0] - together[1]).abs().max() > 1e-4  # the images are told apart
        for i in range(5):
            one = model(images[i : i + 1], index[i : i + 1])[0]
            torch.testing.assert_close(one, together[i], rtol=1e-4, atol=1e-5)


@EVERY
def test_float_images_are_refused(network):
    with pytest.raises(ValueError, match="give uint8"):
        build(network)(torch.rand(2, 1, 16, 12))


@EVERY
def test_another_number_of_channels_is_refused(network):
    with pytest.raises(ValueError, match=r"give \[.., 3, H, W\]"):
        build(network, channels=3)(images_of(2, 1, 16, 12))


@EVERY
def test_trains_under_bf16_autocast(network):
    model = build(network)
    with torch.autocast("cpu", torch.bfloat16):
        logits_BK = model(images_of(4, 1, 16, 12))
    logits_BK.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
