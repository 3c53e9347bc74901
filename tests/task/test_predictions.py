"""The columns of predict.py and what evaluate.py tabulates, of each task."""

import pytest
import torch
from tasks import classification
from torch import nn

from task.clustering import Clustering
from task.multilabel import Multilabel
from task.regression import Count, Regression
from task.several import Several

NAMES = ["cat", "dog", "owl"]


def regression(*shape):
    return Regression(shape, num_outputs=int(torch.tensor(shape).prod()), loss=nn.L1Loss())


def count():
    return Count((), num_outputs=1, loss=nn.PoissonNLLLoss())


def multilabel():
    return Multilabel(3, nn.BCEWithLogitsLoss())


def test_a_class_its_probability_and_spread_then_all_probabilities():
    task, mean, spread = classification(), torch.tensor([0.2, 0.7, 0.1]), torch.tensor([0.01, 0.02, 0.03])
    assert task.columns(NAMES, True) == ["class", "probability", "spread", "p(cat)", "p(dog)", "p(owl)"]
    assert task.row(mean, spread, NAMES) == ["dog", "0.700000", "0.020000", "0.200000", "0.700000", "0.100000"]
    assert task.columns(NAMES, False) == ["class", "probability", "p(cat)", "p(dog)", "p(owl)"]
    assert task.row(mean, None, NAMES) == ["dog", "0.700000", "0.200000", "0.700000", "0.100000"]
    assert (task.brief(mean, spread, NAMES), task.counted(mean, NAMES)) == ("dog  0.7000 ± 0.0200", ["dog"])


def test_labels_above_one_half():
    task, mean = multilabel(), torch.tensor([0.75, 0.25, 0.5625])
    assert task.columns(NAMES, True)[:2] == ["labels", "p(cat)"]
    assert task.columns(NAMES, True)[4:] == ["spread(cat)", "spread(dog)", "spread(owl)"]
    assert task.row(mean, None, NAMES) == ["cat;owl", "0.75", "0.25", "0.5625"]
    assert task.row(mean, mean / 2, NAMES)[4:] == ["0.375", "0.125", "0.28125"]
    assert task.counted(mean, NAMES) == ["cat", "owl"]
    assert task.brief(torch.zeros(3), None, NAMES) == "no label"


def test_numbers_have_a_column_each():
    assert regression().columns([], True) == ["prediction", "spread"]
    assert regression().row(torch.tensor(2.5), torch.tensor(0.25), []) == ["2.5", "0.25"]
    square = regression(2, 2)
    assert square.columns([], False) == ["prediction_0", "prediction_1", "prediction_2", "prediction_3"]
    assert square.row(torch.arange(4.0).reshape(2, 2), None, []) == ["0", "1", "2", "3"]
    assert square.columns([], True)[4] == "spread(prediction_0)"


def test_a_count_is_its_rate_rounded():
    assert count().columns([], False) == ["count", "rate"]
    assert count().row(torch.tensor(3.75), None, []) == ["4", "3.75"]
    assert count().counted(torch.tensor(3.75), []) == ["4"]


def test_a_mixture_has_its_weights_means_and_widths():
    task = Clustering(2, 1, 6)
    assert task.columns([], False) == ["weight_0", "mean_0_0", "width_0_0", "weight_1", "mean_1_0", "width_1_0"]
    assert task.row(torch.tensor([[0.5, -1, 2], [0.5, 3, 4]]), None, []) == ["0.5", "-1", "2", "0.5", "3", "4"]


def test_several_tasks_have_the_columns_of_each_under_its_name():
    task = Several({"kind": classification(), "size": regression()}, {})
    probabilities = [f"kind_p({name})" for name in NAMES]
    assert task.columns(NAMES, False) == ["kind_class", "kind_probability", *probabilities, "size_prediction"]
    predictions = task.predict(torch.tensor([[0.0, 100.0, 0.0, 2.5]]))
    item = {name: values[0] for name, values in predictions.items()}
    assert task.row(item, None, NAMES) == ["dog", "1.000000", "0.000000", "1.000000", "0.000000", "2.5"]
    targets = {"kind": torch.tensor([1]), "size": torch.tensor([4.0])}
    found = task.breakdown(torch.tensor([[0.0, 100.0, 0.0, 2.5]]), targets, NAMES)
    assert (found.overall["kind_accuracy"], found.overall["size_mae"]) == (1.0, 1.5)
    assert found.parts["class"] == {"kind_accuracy/class=cat": None, "kind_accuracy/class=dog": 1.0} | {
        "kind_accuracy/class=owl": None
    }
    assert found.matrices == {"kind_confusion_matrix": [[0, 0, 0], [0, 1, 0], [0, 0, 0]]}


def test_classes_are_tabulated_and_nan_is_incorrect():
    logits = torch.tensor([[9.0, 0, 0], [9, 0, 0], [0, 9, 0], [torch.nan, 0, 9]])
    found = classification().breakdown(logits, torch.tensor([0, 1, 1, 0]), NAMES)
    assert (found.nan_items, found.overall) == (1, {"accuracy": 0.5})
    assert list(found.parts["class"].values()) == [0.5, 0.5, None]
    assert found.matrices["confusion_matrix"] == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_each_label_is_tabulated():
    logits = torch.tensor([[1.0, -1, -1], [1, -1, -1], [-1, 1, -1], [torch.nan, 1, 1]])
    targets = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0], [1, 1, 0]])
    found = multilabel().breakdown(logits, targets, NAMES)
    assert (found.nan_items, found.overall) == (1, {"exact_match": 0.5})
    parts = found.parts["label"]
    assert parts["precision/label=cat"] == 0.5  # of two predicted, one
    assert parts["recall/label=cat"] == 0.5  # of two true, the one that is not NaN
    assert parts["f1/label=cat"] == 0.5
    assert (parts["precision/label=dog"], parts["recall/label=dog"]) == (1.0, pytest.approx(2 / 3))
    assert parts["average_precision/label=dog"] == pytest.approx((1 + 2 / 3) / 2)  # ranks 1 and, with a tie, 3
    assert [parts[f"{name}/label=owl"] for name in ("recall", "average_precision")] == [None, None]


def test_numbers_are_tabulated_by_component():
    predictions, targets = torch.tensor([[1.0, 5.0], [3.0, 5.0]]), torch.tensor([[1.0, 4.0], [5.0, 4.0]])
    found = regression(2).breakdown(predictions, targets, [])
    assert found.overall == {"mae": 1.0, "rmse": pytest.approx(1.5**0.5), "r2": None}  # the second is constant
    assert found.parts["component"]["mae/component=1"] == 1.0
    assert found.parts["component"]["r2/component=0"] == pytest.approx(0.5)
    alone = regression().breakdown(torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 5.0]), [])
    assert (alone.overall["r2"], alone.parts) == (pytest.approx(0.5), {})


def test_counts_are_tabulated_by_the_true_count():
    found = count().breakdown(torch.tensor([[2.75], [2.0], [1.5]]).log(), torch.tensor([2.0, 4.0, 2.0]), [])
    assert found.overall == {"exact": pytest.approx(1 / 3), "mae": pytest.approx(3.25 / 3)}
    assert found.parts["count"] == {
        "exact/count=2": 0.5,
        "mae/count=2": pytest.approx(0.625),
        "exact/count=4": 0.0,
        "mae/count=4": pytest.approx(2.0),
    }


def test_the_main_metric_of_a_batch():
    assert classification().main_value(torch.eye(3), torch.tensor([0, 1, 0]), None, {}) == pytest.approx(2 / 3)
    assert regression().main_value(torch.tensor([[1.0], [4.0]]), torch.tensor([2.0, 2.0]), None, {}) == 1.5
    several = Several({"a": regression(), "b": regression()}, {"b": 3.0})
    targets = {"a": torch.tensor([0.0]), "b": torch.tensor([0.0])}
    assert several.main_value(torch.tensor([[1.0, 2.0]]), targets, None, {}) == 7.0  # the weighted loss
