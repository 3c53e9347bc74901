import pytest
import torch
from torch import nn

from process.errors import UserError
from task import metrics
from task.regression import Count, Regression


def regression(shape=(), loss=None, names=("mae",), kind=Regression):
    build = metrics.count if kind is Count else metrics.regression
    size = torch.Size(shape).numel()
    loss = loss or (nn.PoissonNLLLoss() if kind is Count else nn.L1Loss())
    return kind(shape=shape, num_outputs=size, loss=loss, metrics=build(list(names), shape))


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
@pytest.mark.parametrize("loss", [nn.L1Loss(), nn.MSELoss(), nn.HuberLoss()])
def test_the_loss_is_the_mean_over_all_numbers_whatever_their_shape(shape, loss):
    task = regression(shape, loss)
    outputs, targets = torch.randn(5, task.num_outputs), torch.randn(5, *shape)
    expected = loss(outputs.flatten(), targets.flatten())
    assert task.batch_loss(outputs, targets, None, {}) == pytest.approx(float(expected))
    assert task.predict(outputs).shape == targets.shape
    assert float(task.step_metrics(outputs, targets)["mae"]) == pytest.approx(
        float((outputs.flatten() - targets.flatten()).abs().mean())
    )


def test_results_over_batches_of_unequal_size_are_those_of_the_whole_set():
    task = regression((2,), names=["mae", "rmse", "r2", "exact"])
    outputs, targets = torch.randn(7, 2), torch.randint(-1, 2, (7, 2)).float()
    results = task.results("valid")
    for part, wanted in zip(outputs.split(3), targets.split(3), strict=True):
        results.measure(part, wanted, None, {})
    error = outputs - targets
    explained = 1 - error.square().sum(0) / (targets - targets.mean(0)).square().sum(0)
    assert {name: float(value) for name, value in results.compute().items()} == {
        "valid_loss": pytest.approx(float(error.abs().mean()), rel=1e-5),
        "valid_mae": pytest.approx(float(error.abs().mean()), rel=1e-5),
        "valid_rmse": pytest.approx(float(error.square().mean().sqrt()), rel=1e-5),
        "valid_r2": pytest.approx(float(explained.mean()), rel=1e-4),
        "valid_exact": pytest.approx(float((outputs.round() == targets).all(1).float().mean())),
    }


def test_a_prediction_that_is_not_a_number_makes_the_metrics_nan():
    task = regression(names=["mae", "exact"])
    results = task.results("test")
    results.measure(torch.tensor([[1.0], [torch.nan]]), torch.tensor([1.0, 2.0]), None, {})
    assert all(value.isnan() for value in results.compute().values())
    results.measure(torch.tensor([[1.0]]), torch.tensor([1.0]), None, {})
    assert results.compute() == {"test_loss": 0, "test_mae": 0, "test_exact": 1}


def test_counts_are_rates_of_poisson_distributions_which_are_rounded():
    task = regression(loss=nn.PoissonNLLLoss(), names=["exact", "mae"], kind=Count)
    rates, targets = torch.tensor([0.4, 3.9, 5.2]), torch.tensor([0.0, 3.0, 5.0])
    outputs = rates.log()[:, None]
    expected = -(torch.distributions.Poisson(rates).log_prob(targets) + torch.lgamma(targets + 1)).mean()
    assert float(task.batch_loss(outputs, targets, None, {})) == pytest.approx(float(expected), rel=1e-6)
    assert torch.allclose(task.predict(outputs), rates)
    assert int(task.step_metrics(rates.log()[:, None], targets)["exact"]) == 2
    results = task.results("valid")
    results.measure(rates.log()[:, None], targets, None, {})
    assert float(results.compute()["valid_exact"]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("kind", "targets", "words"),
    [
        (Regression, torch.zeros(4, dtype=torch.int64), "task=regression takes floating-point targets"),
        (Regression, torch.zeros(4, 3), r"targets \[B\] \(data.target_shape\), and here are float32 \[B, 3\]"),
        (Regression, torch.tensor([0.0, torch.inf]), "here hold NaN or infinite values"),
        (Regression, {"a": torch.zeros(4)}, "here are a dictionary of a: float32"),
        (Count, torch.tensor([0.5, 1.0]), "task=count takes whole numbers >= 0"),
        (Count, torch.tensor([-1.0, 1.0]), "choose task=regression"),
    ],
)
def test_one_line_about_targets_of_another_task(kind, targets, words):
    with pytest.raises(UserError, match=words):
        regression(kind=kind).check_targets(targets, "here")


@pytest.mark.parametrize(
    ("kind", "loss", "words"),
    [
        (
            Regression,
            nn.CrossEntropyLoss(),
            "task=regression does not take CrossEntropyLoss: choose loss=l1, l2, huber",
        ),
        (Count, nn.L1Loss(), "task=count does not take L1Loss: choose loss=poisson"),
    ],
)
def test_a_loss_of_other_targets_is_refused_instead_of_broadcast(kind, loss, words):
    with pytest.raises(UserError, match=words):
        regression(loss=loss, kind=kind, names=["mae"])


def test_a_loss_of_the_same_targets_and_one_of_ones_own_are_taken():
    class Own(nn.Module):
        def forward(self, outputs, targets):
            return (outputs - targets).square().sum()

    for loss in (nn.SmoothL1Loss(), Own()):
        task = regression(loss=loss)
        assert task.batch_loss(torch.tensor([[3.0]]), torch.tensor([1.0]), None, None) in (1.5, 4.0)
