import pytest
import torch
from torch import nn

from process.errors import UserError
from task import metrics
from task.multilabel import Multilabel


def multilabel(names=("exact_match",), labels=3):
    return Multilabel(labels, nn.BCEWithLogitsLoss(), metrics.multilabel(list(names), labels))


def test_each_label_is_a_question_of_its_own():
    task = multilabel(["exact_match", "f1", "accuracy"])
    outputs = torch.tensor([[2.0, -1.0, 3.0], [-2.0, -1.0, 0.5], [1.0, 1.0, -4.0]])
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    probabilities = 1 / (1 + (-outputs).exp())
    assert torch.allclose(task.predict(outputs), probabilities)
    loss = -(targets * probabilities.log() + (1 - targets) * (1 - probabilities).log()).mean()
    assert float(task.batch_loss(outputs, targets, None, {})) == pytest.approx(float(loss), rel=1e-6)
    assert int(task.step_metrics(outputs, targets)["exact_match"]) == 1
    results = task.results("test")
    for part, wanted in zip(outputs.split(2), targets.split(2), strict=True):
        results.measure(part, wanted, None, {})
    found = {name: float(value) for name, value in results.compute().items()}
    # label 0: 2 hits of 2; label 1: none, one false alarm, one missed; label 2: 2 hits of 2
    assert found == {
        "test_loss": pytest.approx(float(loss), rel=1e-6),
        "test_exact_match": pytest.approx(1 / 3),
        "test_f1": pytest.approx(2 / 3),
        "test_accuracy": pytest.approx(7 / 9),
    }


def test_a_label_without_an_item_is_left_out_of_the_mean_except_of_accuracies():
    outputs = torch.tensor([[2.0, -1.0, 3.0], [1.0, 2.0, -4.0], [-1.0, 2.0, -4.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    results = multilabel(["f1", "recall", "auroc", "average_precision", "accuracy"]).results("test")
    results.measure(outputs, targets, None, {})
    found = {name: float(value) for name, value in results.compute().items() if name != "test_loss"}
    assert found == {
        "test_f1": pytest.approx((4 / 5 + 2 / 3) / 2),
        "test_recall": pytest.approx((2 / 3 + 1) / 2),
        "test_auroc": pytest.approx(0.75),  # of label 1 alone: a tie and a higher one; all items have label 0
        "test_average_precision": pytest.approx((1 + 1 / 2) / 2),
        "test_accuracy": pytest.approx((2 / 3 + 2 / 3 + 2 / 3) / 3),
    }


def test_an_output_that_is_nan_is_wrong_for_any_label():
    outputs, targets = torch.tensor([[-1.0, torch.nan, -1.0]] * 2), torch.tensor([[0.0, 0, 0], [0, 1, 0]])
    assert int(multilabel().step_metrics(outputs, targets)["exact_match"]) == 0


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (torch.zeros(4, dtype=torch.int64), r"float32 \[B, 3\], and here are int64 \[B\]"),
        (torch.zeros(4, 2), r"and here are float32 \[B, 2\]"),
        (torch.full((4, 3), 0.5), "here hold other values"),
    ],
)
def test_one_line_about_targets_of_another_task(targets, words):
    with pytest.raises(UserError, match=words):
        multilabel().check_targets(targets, "here")


def test_metrics_of_other_targets_are_refused():
    with pytest.raises(ValueError, match="auroc: no such metric; there are mae, mse, rmse, r2, exact"):
        metrics.regression(["auroc"])
    with pytest.raises(ValueError, match="mae: no such metric; there are exact_match"):
        metrics.multilabel(["mae"], 3)
    with pytest.raises(ValueError, match=r"this task has no metrics of its own: metrics=\[\]"):
        metrics.mixture(["accuracy"])
