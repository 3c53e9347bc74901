"""The masked autoencoder predicts the patches that it does not see, and nothing else."""

from functools import partial

import pytest
import torch

from network.masked_autoencoder import MaskedAutoencoder, ReconstructionLoss
from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from selection.grid import Grid
from selection.random_places import RandomPlaces
from set_module.pma import PMA
from set_module.position import LearnedPosition, SinusoidalPosition
from set_module.sab import SAB

IMAGES = torch.randint(256, (3, 2, 12, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
FACTS = {"channels": 2, "image_size": [12, 16], "mean": [0.5], "std": [0.25], "seed": 0, "patch_size": 4}
PARTS = {"embed": partial(MLPEmbed, widths=[8]), "position": SinusoidalPosition, "encoder": partial(SAB, heads=2)}


def build(**settings) -> MaskedAutoencoder:
    torch.manual_seed(0)
    count = {"patch_num_min": 2, "patch_num_max": 9}
    return MaskedAutoencoder(heads=2, **FACTS | PARTS | count | {"selection": Grid} | settings).eval()


def hidden(network: MaskedAutoencoder, *numbers: int, images=IMAGES) -> list[list[list[int]]]:
    corners = network(images, torch.tensor(numbers))["corners"]
    return [each.tolist() for each in corners]


def test_three_of_four_patches_are_hidden_and_their_pixels_are_the_target():
    returned = build()(IMAGES)
    assert returned["corners"].lengths.tolist() == [9] * 3
    assert returned["output"].shape == (3, 8)
    assert returned["reconstruction"].values.shape == returned["pixels"].values.shape == (27, 2, 4, 4)
    for image, corners, pixels in zip(IMAGES, returned["corners"], returned["pixels"], strict=True):
        assert len({tuple(corner) for corner in corners.tolist()}) == 9
        for (y, x), patch in zip(corners.tolist(), pixels, strict=True):
            torch.testing.assert_close(patch, (image[:, y : y + 4, x : x + 4] / 255 - 0.5) / 0.25)


def test_pixels_of_hidden_patches_change_no_reconstruction_and_those_of_seen_ones_do():
    network = build()
    before = network(IMAGES)
    inverted = {"hidden": IMAGES.clone(), "seen": 255 - IMAGES}
    for image, other, corners in zip(inverted["hidden"], inverted["seen"], before["corners"], strict=True):
        for y, x in corners.tolist():
            image[:, y : y + 4, x : x + 4] = 255 - image[:, y : y + 4, x : x + 4]
            other[:, y : y + 4, x : x + 4] = 255 - other[:, y : y + 4, x : x + 4]
    after = {name: network(images) for name, images in inverted.items()}
    assert torch.equal(after["hidden"]["reconstruction"].values, before["reconstruction"].values)
    assert torch.equal(after["hidden"]["output"], before["output"])
    assert not torch.equal(after["hidden"]["pixels"].values, before["pixels"].values)
    changed = after["seen"]["reconstruction"].values - before["reconstruction"].values
    assert (changed.flatten(1).abs().amax(1) > 1e-5).all()


def test_which_patches_are_hidden_follows_from_seed_epoch_and_index_alone():
    network = build()
    first = hidden(network, 5, 6, 7)
    assert hidden(network, 7, 5, 6) == [first[2], *first[:2]]
    assert hidden(network, 6, images=IMAGES[1:2]) == first[1:2]
    assert len({str(each) for each in first}) == 3
    assert hidden(build(seed=1), 5, 6, 7) != first
    network.cutout.set_epoch(1)
    assert hidden(network, 5, 6, 7) == first
    network.train()
    epoch_1 = hidden(network, 5, 6, 7)
    network.cutout.set_epoch(2)
    assert hidden(network, 5, 6, 7) != epoch_1


def test_every_patch_is_seen_as_often_as_another():
    images = IMAGES[:1].expand(900, -1, -1, -1).contiguous()
    y_M, x_M = build()(images)["corners"].values.unbind(1)
    share_P = torch.bincount(y_M // 4 * 4 + x_M // 4, minlength=12) / 900
    torch.testing.assert_close(share_P, torch.full((12,), 0.75), rtol=0, atol=0.06)


def test_sets_of_any_size_are_split_and_a_single_patch_predicts_itself():
    network = build(selection=RandomPlaces, patch_num_min=1, patch_num_max=9).train()
    images = IMAGES[:1].expand(200, -1, -1, -1).contiguous()
    drawn, returned = network.cut(images)[0].lengths, network(images)
    assert set(drawn.tolist()) == set(range(1, 10))
    expected = [1 if n == 1 else n - max(1, int(n * 0.25)) for n in drawn.tolist()]
    assert returned["reconstruction"].lengths.tolist() == expected


def test_its_parts_have_the_names_and_shapes_of_those_of_a_classifier():
    network = build(position=LearnedPosition)
    cut = {"patch_num_min": 1, "patch_num_max": 9}
    classifier = PatchSet(
        num_outputs=3, pool=partial(PMA, heads=2), **FACTS | PARTS | cut | {"position": LearnedPosition}
    )
    shapes = {name: weight.shape for name, weight in classifier.state_dict().items()}
    shared = {name for name in shapes if name.partition(".")[0] in ("embed", "position", "encoder")}
    assert {name.partition(".")[0] for name in shared} == {"embed", "position", "encoder"}
    own = network.state_dict()
    assert {name: own[name].shape for name in shared} == {name: shapes[name] for name in shared}


def test_the_loss_is_the_mean_over_all_hidden_pixels_and_it_falls():
    images = (torch.arange(0, 256, 8, dtype=torch.uint8)[:, None, None, None]).expand(32, 2, 12, 16).contiguous()
    network, loss = build().train(), ReconstructionLoss()
    returned = network(images)
    pairs = zip(*(returned[name].values.flatten().tolist() for name in ("reconstruction", "pixels")), strict=True)
    squares = [(ours - true) ** 2 for ours, true in pairs]
    before = loss(returned["output"], torch.empty(32, 0), others=returned)
    assert before.item() == pytest.approx(sum(squares) / len(squares), rel=1e-4)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss(None, None, others=network(images)).backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert loss(None, None, others=network(images)) < 0.1 * before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"position": None}, "choose model/position="),
        ({"visible": 0.0}, "visible=0.0: choose a share of the patches between 0 and 1"),
        ({"visible": 1.0}, "visible=1.0"),
        ({"depth": 0}, "depth=0: choose >= 1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
