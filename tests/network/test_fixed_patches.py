"""Every network of config/ can be exported as image -> logits."""

import warnings

import pytest
import torch
from configs import CONFIG, composed
from hydra.utils import instantiate

from network.fixed_patches import FixedPatches, evenly_spaced
from network.patch_network import PatchNetwork
from set_module.patch_cutout import PatchCutout
from set_module.set_batch import SetBatch

PLAIN = (
    "vgg11",
    "vgg11_bn",
    "lenet",
    "lenet_bn",
)  # convolutions in a row, as cnn: nothing in them could be traced wrong
MODELS = [path.stem for path in sorted((CONFIG / "model").glob("*.yaml")) if path.stem not in PLAIN]


def build(*overrides):
    torch.manual_seed(0)
    return instantiate(composed(*overrides).model, _convert_="all").network.eval()


def noise(*shape):
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mode", ["grid", "all"])
@pytest.mark.parametrize("size", [1, 5, 8])
def test_sees_the_patches_of_the_mode(mode, size):
    options = ("data=image_folder", "data.num_classes=3", "data.image_size=[8,11]", f"hparams.patch_size={size}")
    network = build(*options, "model/position=learned")
    images, number = noise(4, 3, 8, 11), torch.arange(4)
    fixed = FixedPatches(network, [8, 11], mode)
    with torch.no_grad():
        logits = fixed(images)
        network.cutout = PatchCutout(size, mode=mode)
        torch.testing.assert_close(logits, network(images, number))
    assert fixed.num_patches == len(network.cutout.positions(torch.empty(1, 3, 8, 11), torch.zeros(1).long()).values)


def test_cuts_evenly_spaced_places():
    options = ("data=image_folder", "data.num_classes=3", "data.image_size=[8,11]", "hparams.patch_size=5")
    network = build(*options, "model/position=learned", "hparams.patch_num_max=9")
    fixed = FixedPatches(network, [8, 11], "even")
    assert fixed.corners.tolist() == [[y, x] for y in (0, 3) for x in (0, 2, 4, 6)]
    images = noise(4, 3, 8, 11)
    patches = [images[b, :, y : y + 5, x : x + 5] for b in range(4) for y, x in fixed.corners.tolist()]
    lengths = torch.full((4,), 8)
    with torch.no_grad():
        encoded = network.encode(SetBatch(torch.stack(patches), lengths), SetBatch(fixed.corners.repeat(4, 1), lengths))
        torch.testing.assert_close(fixed(images), network.read(encoded))


@pytest.mark.parametrize(
    ("number", "places", "rows", "columns"),
    [
        (64, (14, 14), [0, 2, 4, 6, 7, 9, 11, 13], [0, 2, 4, 6, 7, 9, 11, 13]),
        (16, (4, 4), [0, 1, 2, 3], [0, 1, 2, 3]),
        (64, (4, 4), [0, 1, 2, 3], [0, 1, 2, 3]),  # there are no more
        (1, (14, 14), [6], [6]),
        (5, (1, 40), [0], [0, 10, 20, 29, 39]),
        (7, (40, 1), [0, 6, 13, 20, 26, 32, 39], [0]),
    ],
)
def test_even_places_fill_the_number_from_edge_to_edge(number, places, rows, columns):
    assert evenly_spaced(number, *places).tolist() == [[y, x] for y in rows for x in columns]


def test_refuses_bags_and_other_modes():
    network = build("data=MNIST")
    with pytest.raises(ValueError, match="choose even, grid or all"):
        FixedPatches(network, [28, 28], "random")
    with pytest.raises(ValueError, match="draws no patches, choose grid or all"):
        FixedPatches(build("data=MNIST", "model/selection=grid"), [28, 28], "even")
    network.cutout = None
    with pytest.raises(ValueError, match="of a network that cuts images"):
        FixedPatches(network, [28, 28], "grid")


@pytest.mark.long
@pytest.mark.parametrize("model", [model for model in MODELS if model != "dtfd_mil"])  # which export.py refuses
def test_traced_with_any_batch(model):
    size = [32, 32] if model.startswith("vgg") else [28, 28]
    network = build(f"model={model}", "data=MNIST", f"data.image_size={size}", "hparams.pool=[mean]")
    module = FixedPatches(network, size, "grid").eval() if isinstance(network, PatchNetwork) else network
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.export, about itself
        dynamic = ({0: torch.export.Dim.DYNAMIC},)
        program = torch.export.export(module, (noise(3, 1, *size),), dynamic_shapes=dynamic, strict=True).module()
    for batch in (1, 2, 8):
        images = noise(batch, 1, *size)
        with torch.no_grad():
            torch.testing.assert_close(program(images), module(images), rtol=1e-4, atol=1e-5)


def test_learned_places_are_cut_in_their_order_and_give_the_same_logits():
    torch.manual_seed(0)
    network = build("data=MNIST", "model/selection=fixed", "hparams.patch_size=8", "hparams.patch_num_max=6")
    torch.nn.init.normal_(network.cutout.logits_KP)
    images = torch.randint(256, (3, 1, 28, 28), dtype=torch.uint8)
    fixed = FixedPatches(network.eval(), [28, 28], "fixed")
    assert torch.equal(fixed.corners, network.cutout.order())
    torch.testing.assert_close(fixed(images), network(images))
    network.patch_num = 2
    torch.testing.assert_close(FixedPatches(network, [28, 28], "fixed")(images), network(images))
    with pytest.raises(ValueError, match="choose even, grid or all"):
        FixedPatches(build("data=MNIST"), [28, 28], "fixed")
