import pytest
import torch
from torch import nn

from process.errors import UserError
from task import metrics
from task.classification import Classification
from task.loss import Loss
from task.regression import Regression
from task.several import Several


def several(**weights):
    majority = Classification(3, nn.CrossEntropyLoss(), metrics.multiclass(["accuracy"], 3))
    largest = Regression(shape=(), num_outputs=1, loss=nn.L1Loss(), metrics=metrics.regression(["mae"]))
    return Several({"majority": majority, "largest": largest}, weights)


OUTPUTS = torch.tensor([[3.0, 0.0, 0.0, 1.5], [0.0, 0.0, 2.0, 4.0], [0.0, 1.0, 0.0, 0.0]])
TARGETS = {"majority": torch.tensor([0, 2, 2]), "largest": torch.tensor([1.0, 5.0, 0.25])}
CROSS_ENTROPY = nn.functional.cross_entropy(OUTPUTS[:, :3], TARGETS["majority"])
ABSOLUTE = (OUTPUTS[:, 3] - TARGETS["largest"]).abs().mean()


def test_losses_are_weighted_and_metrics_bear_the_name_of_their_task():
    task = several(largest=0.5)
    assert task.num_outputs == 4
    loss = CROSS_ENTROPY + 0.5 * ABSOLUTE
    assert float(task.batch_loss(OUTPUTS, TARGETS, None, {})) == pytest.approx(float(loss))
    measured = task.step_metrics(OUTPUTS, TARGETS, None)
    assert int(measured["majority_accuracy"]) == 2
    assert float(measured["largest_mae"]) == pytest.approx(float(ABSOLUTE))
    results = task.results("valid")
    for rows in ([0, 1], [2]):
        results.measure(OUTPUTS[rows], {name: each[rows] for name, each in TARGETS.items()}, None, {})
    assert {name: float(value) for name, value in results.compute().items()} == pytest.approx(
        {
            "valid_loss": float(loss),
            "valid_majority_loss": float(CROSS_ENTROPY),
            "valid_majority_accuracy": 2 / 3,
            "valid_largest_loss": float(ABSOLUTE),
            "valid_largest_mae": float(ABSOLUTE),
        }
    )


def test_an_item_whose_logits_are_nan_is_wrong_at_each_size():
    outputs = torch.tensor([[torch.nan, 0.0, 0.0, 1.5]])
    targets = {"majority": torch.tensor([0]), "largest": torch.tensor([1.0])}
    assert int(several().size_metrics(outputs, targets, None)["majority_accuracy"]) == 0


def test_one_line_about_targets_that_lack_a_task():
    with pytest.raises(UserError, match=r"task=\[majority,largest\] takes targets of each .* here are those of one"):
        several().check_targets(TARGETS["majority"], "here")
    with pytest.raises(UserError, match="here are those of majority"):
        several().check_targets({"majority": TARGETS["majority"]}, "here")
    with pytest.raises(UserError, match="here of largest are int64"):
        several().check_targets({**TARGETS, "largest": TARGETS["majority"]}, "here")


def test_only_the_tasks_that_say_so_measure_their_step_metrics_in_test():
    class Watched(Regression):
        measured_by_steps = True

    tasks = {"a": Regression((), num_outputs=1, loss=nn.L1Loss()), "b": Watched((), num_outputs=1, loss=nn.L1Loss())}
    targets = {"a": torch.zeros(3), "b": torch.zeros(3)}
    task = Several(tasks, {})
    assert task.measured_by_steps
    assert set(task.step_metrics(torch.ones(3, 2), targets, None)) == {"a_mae", "b_mae"}
    assert set(task.result_metrics(torch.ones(3, 2), targets, None)) == {"b_mae"}


def test_a_loss_is_given_what_it_asks_for():
    def reconstruction(outputs, targets, others):
        return (others["reconstruction"] - targets).square().mean()

    def plain(outputs, targets):
        return outputs.mean()

    class OfInputs(nn.Module):
        def forward(self, outputs, targets, inputs):
            return (outputs - inputs).abs().mean()

    given = {"reconstruction": torch.ones(3, 1)}
    assert Loss(1, reconstruction).batch_loss(torch.zeros(3, 1), torch.zeros(3, 1), None, given) == 1
    assert Loss(1, plain).batch_loss(torch.full((3, 1), 2.0), None, None, given) == 2
    assert Loss(1, OfInputs()).batch_loss(torch.zeros(3, 1), None, torch.full((3, 1), 4.0), given) == 4
