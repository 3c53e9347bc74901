from functools import partial

import numpy
import pytest
import torch
from given_logits import noise, shown_in_test
from torch import nn

from figure.evidence import Evidence, overlaid
from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from set_module.reduce_pool import ReducePool

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")
IMAGES = noise(23, 3, 9, 7)
LOGITS, LABELS = torch.zeros(23, 4), torch.arange(23) % 4


class Normed(MLPEmbed):
    """Embedding with BatchNorm and dropout, whose state a figure must not change."""

    def __init__(self, channels: int, patch_size: int) -> None:
        super().__init__([6], channels=channels, patch_size=patch_size)
        self.norm = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5))

    def forward(self, patches):
        return self.norm(super().forward(patches))


def network(**settings) -> PatchSet:
    torch.manual_seed(0)
    cut = {"patch_size": 4, "patch_num_min": 1, "patch_num_max": 3, "seed": 0} | settings
    data = {"channels": 3, "image_size": [9, 7], "num_outputs": 4, "mean": [0.5], "std": [0.25]}
    pool = partial(ReducePool, reductions=["mean"])
    return PatchSet(embed=Normed, pool=pool, dropout=0.5, **data, **cut)


@pytest.mark.parametrize("batch_size", [1, 4, 23])
def test_shows_images_from_all_over_the_test_set(tmp_path, monkeypatch, batch_size):
    seen, cutter = [], network()
    original = cutter.evidence
    monkeypatch.setattr(cutter, "evidence", lambda *a: seen.append((a, cutter.patch_num)) or original(*a))
    shown = shown_in_test(Evidence(6, 50), tmp_path, LOGITS, LABELS, IMAGES, cutter, batch_size)
    assert shown == ["evidence_at_0.png"]
    (((images_BCHW, index_B, _), patch_num),) = seen
    assert len(index_B) == 6
    assert all(torch.equal(image, IMAGES[index]) for image, index in zip(images_BCHW, index_B, strict=True))
    assert batch_size == 23 or index_B.max() - index_B.min() >= 15
    assert patch_num == (50, 50)


def test_leaves_the_network_and_the_random_state_as_they_were(tmp_path):
    cutter = network()
    before = {name: value.clone() for name, value in cutter.state_dict().items()}
    torch.manual_seed(3)
    random = torch.get_rng_state()
    assert shown_in_test(Evidence(6, 50), tmp_path, LOGITS, LABELS, IMAGES, cutter)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[name], value) for name, value in cutter.state_dict().items())
    assert all(parameter.grad is None for parameter in cutter.parameters())
    assert cutter.patch_num == (1, 3)
    assert all(module.training for module in cutter.modules())


@pytest.mark.parametrize("other", [None, nn.Linear(1, 1), network(selection=None)])
def test_other_networks_show_nothing(tmp_path, caplog, other):
    assert shown_in_test(Evidence(6, 50), tmp_path, LOGITS, LABELS, IMAGES, other) == []
    assert "no picture" not in caplog.text


def test_red_is_for_blue_against_and_where_no_patch_lies_the_image_alone():
    gray = torch.full((1, 1, 3), 100, dtype=torch.uint8)
    said_HW = torch.tensor([[2.0, -2.0, torch.nan]])
    for_class, against, nothing = numpy.array(overlaid(gray, said_HW)).astype(int)[0, [37, 112, 187]]
    assert for_class[0] > 2 * max(for_class[1:])
    assert against[2] > 2 * against[0]
    assert nothing[0] == nothing[1] == nothing[2] > 0


def test_under_few_patches_too_the_colours_are_of_what_they_say():
    said_HW = torch.full((10, 10), torch.nan)
    said_HW[0, :2] = torch.tensor([-2.0, 1.0])  # 2% of the pixels
    strong, weak = numpy.array(overlaid(noise(1, 3, 10, 10)[0], said_HW)).astype(int)[11, [11, 33]]
    assert strong[0] < 0.2 * strong[2]
    assert weak[1] > 0.4 * weak[0]


@pytest.mark.parametrize("said", [0.0, 3.0, torch.nan, 1e-42])
def test_whatever_is_said_can_be_drawn(said):
    assert overlaid(noise(1, 3, 1, 1)[0], torch.full((1, 1), said)).size == (224, 224)
    assert overlaid(noise(1, 3, 5, 9)[0], torch.full((5, 9), said)).size[0] == 224


def test_a_number_below_one_is_refused():
    with pytest.raises(ValueError, match=r"evidence\.patches=0"):
        Evidence(count=1, patches=0)
