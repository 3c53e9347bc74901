"""The canvas: which pixels it shows, its gradient for the choice, and any network of images on it."""

from functools import partial

import pytest
import torch
from torch.nn.functional import one_hot

from network.canvas import Canvas
from network.cnn import CNN
from network.fixed_canvas import FixedCanvas
from network.lenet import LeNet
from network.quantize import quantized
from selection.chosen_places import ChosenPlaces
from selection.coverage import coverage
from selection.fixed import FixedPlaces
from selection.grid import Grid
from selection.random_places import RandomPlaces
from set_module.set_batch import SetBatch

IMAGES = torch.randint(256, (5, 2, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
CORNERS = SetBatch(torch.tensor([[0, 0], [3, 5], [3, 4], [2, 2], [2, 2], [0, 1]]), [3, 1, 2])  # of 4x4 patches
ROWS, COLUMNS = 4, 6


def canvas(**settings) -> Canvas:
    torch.manual_seed(0)
    facts = {"channels": 2, "image_size": [7, 9], "num_outputs": 3, "mean": [0.4], "std": [0.25], "seed": 0}
    count = {"patch_size": 4, "patch_num_min": 1, "patch_num_max": 6, "body": partial(CNN, widths=[6, 8])}
    return Canvas(**facts | count | settings)


def masks(corners: SetBatch) -> torch.Tensor:
    mask = torch.zeros(len(corners), 1, 7, 9)
    for image, places in enumerate(corners):
        for y, x in places.tolist():
            mask[image, :, y : y + 4, x : x + 4] = 1
    return mask


def test_the_body_sees_the_patches_where_they_were_and_the_mask(monkeypatch):
    network, seen = canvas().eval(), []
    network.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network.read(IMAGES[:3], CORNERS)
    mask = masks(CORNERS)
    torch.testing.assert_close(seen[0], torch.cat([(IMAGES[:3] / 255 - 0.4) / 0.25 * mask, mask], dim=1))


def test_what_no_patch_covers_means_nothing_and_each_covered_pixel_does():
    network = canvas().double().eval()
    mask = masks(CORNERS).bool().expand(-1, 2, -1, -1)
    before, hidden = network.read(IMAGES[:3], CORNERS), torch.where(mask, IMAGES[:3], 255 - IMAGES[:3])
    assert torch.equal(network.read(hidden, CORNERS), before)
    shown = torch.where(mask, 255 - IMAGES[:3], IMAGES[:3])
    assert (network.read(shown, CORNERS) - before).abs().amax(1).min() > 1e-6


def test_the_order_and_the_repetition_of_patches_mean_nothing():
    network = canvas().eval()
    others = SetBatch(torch.tensor([[3, 4], [0, 0], [3, 5], [2, 2], [0, 1], [2, 2], [2, 2]]), [3, 1, 3])
    assert torch.equal(network.read(IMAGES[:3], others), network.read(IMAGES[:3], CORNERS))


@pytest.mark.parametrize("selection", [FixedPlaces, None])
def test_an_image_has_the_same_output_in_any_batch(selection):
    network = canvas(**({"selection": selection} if selection else {})).double()
    network.body.eval()
    for _ in ("training", "evaluation"):
        index = torch.tensor([7, 1, 9, 4, 3])
        together = network(IMAGES, index)
        order = torch.tensor([4, 2, 0, 3, 1])
        torch.testing.assert_close(network(IMAGES[order], index[order]), together[order])
        torch.testing.assert_close(network(IMAGES[1:2], index[1:2]), together[1:2])
        network.eval()


def test_the_gradient_for_the_choice_is_that_of_the_union_of_masks():
    choice = one_hot(CORNERS.values[:, 0] * COLUMNS + CORNERS.values[:, 1], ROWS * COLUMNS).double()
    weights = torch.randn(3, 1, 7, 9, dtype=torch.double)
    chosen_choice = choice.clone().requires_grad_()
    chosen = ChosenPlaces.of(chosen_choice, CORNERS, IMAGES[:3], 4)
    mask = coverage(chosen, 4, [7, 9])
    assert torch.equal(mask, masks(CORNERS))
    (found,) = torch.autograd.grad((mask * weights).sum(), chosen_choice)

    every = SetBatch(torch.cartesian_prod(torch.arange(ROWS), torch.arange(COLUMNS)), [1] * (ROWS * COLUMNS))
    each_N = (choice.requires_grad_() @ masks(every).double().flatten(1)).view(-1, 1, 7, 9)
    union = torch.stack([1 - (1 - each_N[CORNERS.index == image]).prod(0) for image in range(3)])
    (expected,) = torch.autograd.grad((union * weights).sum(), choice)
    torch.testing.assert_close(found, expected.to(found.dtype), atol=1e-5, rtol=1e-5)


def test_logits_at_several_numbers_are_those_of_as_many_patches():
    network = canvas(test_patch_num=6).eval()
    found = network.logits_at(IMAGES, torch.arange(5), [1, 3, 6])
    assert network.patch_num == (6, 6)
    for number, logits in found.items():
        network.patch_num = number
        torch.testing.assert_close(logits, network(IMAGES, torch.arange(5)))
    assert network.train().patch_num == (1, 6)


@pytest.mark.parametrize("body", [LeNet, partial(quantized, bits=4, network=partial(CNN, widths=[4]))])
def test_any_network_of_images_is_a_body(body):
    network = canvas(body=body, selection=Grid)
    assert network(IMAGES).shape == (5, 3)
    assert not hasattr(network, "patch_num")


def test_a_body_that_does_not_normalise_is_refused():
    def plain(**_):
        return torch.nn.Flatten()

    with pytest.raises(ValueError, match="the body has 0 Normalize: give a network of images"):
        canvas(body=plain)


def test_learned_places_get_the_gradient_of_the_loss():
    network = canvas(selection=FixedPlaces)
    network(IMAGES).square().sum().backward()
    gradient_KP = network.cutout.logits_KP.grad
    assert gradient_KP[0].abs().sum() > 0
    torch.testing.assert_close(gradient_KP.sum(1), torch.zeros(6), atol=1e-4, rtol=0)  # as of every softmax


@pytest.mark.parametrize("mode", ["even", "grid", "all", "fixed"])
def test_the_form_for_export_shows_each_image_at_the_same_places(mode):
    network = canvas(selection=FixedPlaces if mode == "fixed" else RandomPlaces, test_patch_num=6).double().eval()
    if mode == "fixed":
        torch.nn.init.normal_(network.cutout.logits_KP)
    fixed = FixedCanvas(network, [7, 9], mode)
    assert fixed.num_patches == {"even": 6, "grid": 6, "all": 24, "fixed": 6}[mode]
    torch.testing.assert_close(fixed(IMAGES), fixed.outputs(IMAGES))
    if mode == "fixed":
        torch.testing.assert_close(fixed(IMAGES), network(IMAGES))
    if mode == "all":  # every pixel is seen
        everything = torch.cat([network.normalize(IMAGES), torch.ones(5, 1, 7, 9)], dim=1)
        torch.testing.assert_close(fixed(IMAGES), network.body(everything))
