import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from process.errors import UserError
from set_module.set_batch import SetBatch
from task.clustering import Clustering, log_likelihood

# two sets of 3 and 5 points in the plane, mixtures of 4 components


def sets():
    generator = torch.Generator().manual_seed(0)
    return SetBatch(torch.randn(8, 2, generator=generator), torch.tensor([3, 5]))


def mixtures():
    generator = torch.Generator().manual_seed(1)
    weight = torch.rand(2, 4, 1, generator=generator).softmax(1)
    mean, width = torch.randn(2, 4, 2, generator=generator), torch.rand(2, 4, 2, generator=generator) + 0.1
    return torch.cat([weight, mean, width], dim=2)


def plainly(mixture, points):
    weight, mean, width = mixture.split([1, 2, 2], dim=1)
    components = Independent(Normal(mean, width), 1)
    return MixtureSameFamily(Categorical(weight[:, 0]), components).log_prob(points).mean()


def test_the_likelihood_is_that_of_torch_distributions():
    points = sets()
    expected = [plainly(mixture, each) for mixture, each in zip(mixtures(), points.values.split([3, 5]), strict=True)]
    assert torch.allclose(log_likelihood(mixtures(), points), torch.stack(expected), atol=1e-5)


def test_the_gap_to_the_true_mixture_is_zero_for_it_and_unknown_without_it():
    task = Clustering(components=4, features=2, num_outputs=20)
    weight, mean, width = mixtures().split([1, 2, 2], dim=2)
    outputs = torch.cat([weight.log(), mean, width.expm1().log()], dim=2).flatten(1)  # the inverse of softplus
    assert torch.allclose(task.predict(outputs), mixtures(), atol=1e-5)
    measured = task.step_metrics(outputs, mixtures(), sets())
    loss = task.batch_loss(outputs, mixtures(), sets(), {})
    assert float(measured["gap"]) == pytest.approx(0, abs=1e-5)
    assert float(measured["log_likelihood"]) == pytest.approx(-float(loss))
    assert list(task.step_metrics(outputs, torch.empty(2, 0), sets())) == ["log_likelihood"]
    shifted = task.step_metrics(outputs, mixtures() + 0.3, sets())
    assert float(shifted["gap"]) == pytest.approx(
        float(log_likelihood(mixtures() + 0.3, sets()).mean() - measured["log_likelihood"]), abs=1e-6
    )


def test_a_component_of_no_weight_and_no_width_gives_finite_gradients():
    task = Clustering(components=4, features=2, num_outputs=20)
    outputs = torch.zeros(2, 4, 5)
    outputs[:, 0, 0], outputs[:, 1, 3:] = -200, -200
    outputs.requires_grad_()
    task.batch_loss(outputs.flatten(1), torch.empty(2, 0), sets(), {}).backward()
    assert outputs.grad.isfinite().all()


def test_one_line_about_targets_of_another_task():
    with pytest.raises(UserError, match=r"float32 \[B, 4, 5\], or \[B, 0\] if they are unknown, and here are int64"):
        Clustering(4, 2, 20).check_targets(torch.zeros(3, dtype=torch.int64), "here")
