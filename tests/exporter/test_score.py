"""The accuracy of fixed patches beside that of the run, on the same images."""

import pytest
import torch
from tasks import classification
from torch import nn

from datamodule.loader import MemorySource
from exporter import score
from exporter.sample import Sample
from exporter.score import Comparison, Score, measure
from network.fixed_patches import FixedPatches
from set_module.patch_cutout import PatchCutout
from task.loss import Loss
from task.several import Several

ACCURACY = Score(classification(num_classes=2))


def test_a_loss_that_reads_more_than_outputs_is_not_measured_of_several_tasks_either():
    reading = Loss(1, lambda outputs, targets, others: others["weights"].mean())
    tasks = Several({"a": classification(num_classes=2), "b": reading}, {})
    for task, outputs in ((reading, torch.zeros(1, 1)), (tasks, torch.zeros(1, 3))):
        assert Score(task)(outputs, {"a": torch.tensor([0]), "b": torch.empty(1, 0)}, None) is None


class SeesBright(nn.Module):
    """Network that draws patches of side 4 of an image; the class is 1 if one of them has a pixel of 255."""

    position = encoder = max_patch_num = None

    def __init__(self, number):
        super().__init__()
        self.cutout = PatchCutout(4, number)

    @property
    def patch_num(self):
        return self.cutout.count

    @patch_num.setter
    def patch_num(self, count):
        self.cutout.count = count

    def cut(self, images_BCHW, index_B=None):
        corners = self.cutout.positions(images_BCHW, index_B)
        return self.cutout.cut(images_BCHW, corners), corners

    def encode(self, patches, corners=None):
        return patches

    def read(self, patches):
        bright_N = (patches.values.flatten(1).amax(1) == 255).long()
        bright_B = torch.zeros_like(patches.lengths).index_add(0, patches.index, bright_N) > 0
        return torch.stack([~bright_B, bright_B], dim=1).float()

    def forward(self, images_BCHW, index_B=None):
        return self.read(self.encode(*self.cut(images_BCHW, index_B)))


@pytest.fixture
def sample():
    """40 images 8x8 with one bright pixel each, of class 1."""
    images = torch.zeros(40, 1, 8, 8, dtype=torch.uint8)
    at = torch.randint(8, (40, 2), generator=torch.Generator().manual_seed(0))
    images[torch.arange(40), 0, at[:, 0], at[:, 1]] = 255
    return Sample(MemorySource(images, torch.ones(40, dtype=torch.int64)))


def seen(sample, corners_of, step=1):
    """Return the share of the images of which a patch has the bright pixel, by a plain loop."""
    hits = []
    for i in range(0, 40, step):
        image = sample.source.images_NCHW[i, 0]
        hits.append(any(int(image[y : y + 4, x : x + 4].max()) == 255 for y, x in corners_of(i).tolist()))
    return sum(hits) / len(hits)


def test_both_accuracies_are_those_of_a_plain_loop(sample):
    network = SeesBright(2).eval()
    even = FixedPatches(network, [8, 8], "even")
    found = measure(even, [8, 8], sample, ACCURACY)
    assert found.file == pytest.approx(seen(sample, lambda i: even.corners))
    own = lambda i: network.cutout.positions(torch.empty(1, 1, 8, 8), torch.tensor([i])).values  # noqa: E731
    assert found.run == pytest.approx(seen(sample, own))
    assert 0 < found.run < 1
    assert (found.images, found.total) == (40, 40)
    assert "as the run tests, on all 40" in found.words()
    network.patch_num = (1, 2)
    assert "with 2 random patches, on all 40" in measure(even, [8, 8], sample, ACCURACY).words()
    assert measure(FixedPatches(network, [8, 8], "grid"), [8, 8], sample, ACCURACY).file == 1.0, (
        "a grid covers the image"
    )


def test_what_is_better_is_measured_on_the_same_images(sample, monkeypatch):
    monkeypatch.setattr(score, "IMAGES", 20)
    monkeypatch.setattr(score, "PATCHES", 60)
    few = FixedPatches(SeesBright(1).eval(), [8, 8], "even")  # a file that cuts one patch
    few.network.patch_num = 16
    found = measure(few, [8, 8], sample, ACCURACY)
    assert (found.images, found.total) == (20, 40)
    assert found.file == pytest.approx(seen(sample, lambda i: few.corners, step=2))
    assert found.is_lower
    assert found.better == ("all", 1.0)  # 25 places <= 8 times 16 patches
    assert "on 20 of the 40 test images; patches=all is more accurate: 1.0000" in found.warning()
    monkeypatch.setattr(score, "COSTLIER", 1)
    assert measure(few, [8, 8], sample, ACCURACY).better is None


@pytest.mark.parametrize(("file", "is_lower"), [(0.955, False), (0.9451, False), (0.944, True)])
def test_half_a_point_is_lower(file, is_lower):
    found = Comparison("accuracy", "grid", file, 0.95, 1000, 10000)
    assert found.is_lower == is_lower
    assert "on 1,000 of the 10,000 test images" in found.words()
