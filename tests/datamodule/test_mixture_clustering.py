import math

import pytest
import torch

from datamodule.mixture_clustering import MixtureClustering
from set_module.set_batch import SetBatch


@pytest.fixture
def mixtures(settings):
    facts = {"channels": None, "image_size": None, "features": 2, "num_classes": None, "target_shape": [4, 5]}
    drawn = {"set_size": [100, 500], "steps_per_epoch": 3, "valid_sets": 6, "test_sets": 5, "components": 4}
    return MixtureClustering(**settings | facts | drawn)


def test_parameters_are_those_of_the_paper(mixtures):
    generator = torch.Generator().manual_seed(0)
    _, targets = mixtures.draw(generator, torch.ones(20_000, dtype=torch.int64), "train")
    weight, mean, width = targets.split([1, 2, 2], dim=2)
    assert torch.allclose(weight.sum(1), torch.ones(20_000, 1))
    assert (weight >= 0).all()
    # of Dirichlet(1, 1, 1, 1): mean 1/4, variance 3/80
    assert float(weight.mean()) == pytest.approx(1 / 4, abs=1e-6)
    assert float(weight.var()) == pytest.approx(3 / 80, rel=0.03)
    assert float(mean.min()) == pytest.approx(-4, abs=0.01)
    assert float(mean.max()) == pytest.approx(4, abs=0.01)
    assert float(mean.std()) == pytest.approx(8 / math.sqrt(12), rel=0.01)
    assert torch.equal(width, torch.full_like(width, 0.3))


def test_points_are_drawn_from_the_mixture_of_their_set(mixtures):
    generator = torch.Generator().manual_seed(1)
    points, targets = mixtures.draw(generator, torch.tensor([40_000, 60_000]), "train")
    assert isinstance(points, SetBatch)
    for x, target in zip(points, targets, strict=True):
        weight, mean, width = target[:, 0], target[:, 1:3], target[:, 3:]
        assert torch.allclose(x.mean(0), weight @ mean, atol=0.06)
        second = weight @ (mean**2 + width**2)
        assert torch.allclose((x**2).mean(0), second, rtol=0.03)
        near = ((x[:, None] - mean) / width).norm(dim=2) < 1
        for j in range(4):
            others = ((mean - mean[j]) / width[j]).norm(dim=1)
            if (others[others > 0] > 6).all():  # no other component is near
                share = (1 - math.exp(-1 / 2)) * float(weight[j])  # of a normal distribution in two dimensions
                assert float(near[:, j].double().mean()) == pytest.approx(share, abs=0.01)
