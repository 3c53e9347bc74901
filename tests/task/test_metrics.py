import re

import pytest
import torch
from tasks import classification

from task import metrics


def results(names, probabilities, labels, batches=1):
    measured = classification(metrics.multiclass(names, probabilities.shape[1])).results("test")
    for p, y in zip(probabilities.chunk(batches), labels.chunk(batches), strict=True):
        measured.update(p.log(), y, torch.tensor(0.0))
    return {name: float(value) for name, value in measured.compute().items()}


def test_against_their_formulas():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(300, 4, generator=generator, dtype=torch.float64).mul(2).softmax(1)
    labels = torch.randint(4, (300,), generator=generator)
    best, guess = probabilities.max(1)
    hit = guess == labels
    ranks = (probabilities > probabilities.gather(1, labels[:, None])).sum(1)
    f1 = [2 * ((guess == k) & hit).sum() / ((guess == k).sum() + (labels == k).sum()) for k in range(4)]
    bins = (best * 15).ceil().long() - 1
    gaps = [abs((best[bins == b] - hit[bins == b].double()).sum()) for b in range(15)]
    chance = sum((guess == k).double().mean() * (labels == k).double().mean() for k in range(4))
    assert results(["accuracy", "top_2", "f1", "calibration_error", "CohenKappa"], probabilities, labels) == {
        "test_loss": 0,
        "test_accuracy": pytest.approx(float(hit.double().mean())),
        "test_top_2": pytest.approx(float((ranks < 2).double().mean())),
        "test_f1": pytest.approx(float(sum(f1) / 4)),
        "test_calibration_error": pytest.approx(float(sum(gaps) / 300), abs=1e-6),
        "test_cohen_kappa": pytest.approx(float((hit.double().mean() - chance) / (1 - chance))),
    }


def test_metrics_of_equal_state_on_the_first_batch_stay_apart_over_epochs_and_after_a_resume():
    first, second = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).repeat(4, 1).split(2)
    labels = torch.tensor([[0, 1], [2, 3]])
    names = ["accuracy", "top_2", "top_3", "MulticlassF1Score", {"Precision": {"ignore_index": 2}}, "recall"]
    expected = {"accuracy": 1 / 4, "top_2": 2 / 4, "top_3": 3 / 4, "f1_score": 0.1, "precision": 1 / 9, "recall": 1 / 4}
    measured = classification(metrics.multiclass(names, 4)).results("valid")
    resumed = classification(metrics.multiclass(names, 4)).results("valid")
    for epoch in range(4):
        if epoch == 2:
            resumed.load_state_dict(measured.state_dict())
            measured = resumed
        for probabilities, y in zip((first, second), labels, strict=True):
            measured.update(probabilities.log(), y, torch.tensor(0.0))
        values = measured.compute()
        assert {name: float(values[f"valid_{name}"]) for name in expected} == pytest.approx(expected)


KINDS = {  # metric -> its value of class k from the probabilities p [N, K] and labels y [N]
    "f1": lambda p, y, k: 2 * _hit(p, y, k) / ((p.argmax(1) == k).sum() + (y == k).sum()),
    "precision": lambda p, y, k: _hit(p, y, k) / (p.argmax(1) == k).sum(),
    "recall": lambda p, y, k: _hit(p, y, k) / (y == k).sum(),
    "auroc": lambda p, y, k: (p[y == k, k][:, None] > p[y != k, k]).double().mean(),
    "average_precision": lambda p, y, k: torch.stack(
        [((p[:, k] >= s) & (y == k)).sum() / (p[:, k] >= s).sum() for s in p[y == k, k]]
    ).mean(),
    "JaccardIndex": lambda p, y, k: _hit(p, y, k) / ((p.argmax(1) == k) | (y == k)).sum(),
    "HammingDistance": lambda p, y, k: 1 - _hit(p, y, k) / (y == k).sum(),
    "Specificity": lambda p, y, k: ((p.argmax(1) != k) & (y != k)).sum() / (y != k).sum(),
}


def _hit(p, y, k):
    return ((p.argmax(1) == k) & (y == k)).sum().double()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_a_class_without_an_image_is_left_out_of_the_mean(name, average):
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(90, 5, generator=generator, dtype=torch.float64).softmax(1)
    labels = torch.randint(3, (90,), generator=generator) + 1  # 0 and 4 are predicted, but never right
    labels[:20] = 2
    values = torch.stack([KINDS[name](probabilities, labels, k) for k in (1, 2, 3)]).double()
    weights = torch.bincount(labels)[1:].double() if average == "weighted" else torch.ones(3)
    (result,) = list(results([{name: {"average": average}}], probabilities, labels, batches=3).values())[1:]
    assert result == pytest.approx(float((values * weights).sum() / weights.sum()), abs=1e-6)


def test_one_class_alone_has_no_area_under_the_curve_which_is_said_once(caplog):
    measured = classification(metrics.multiclass(["auroc", "recall", "Specificity"], 3)).results("test")
    for _ in range(3):
        measured.update(torch.eye(3).log_softmax(1)[[1, 1, 2]], torch.ones(3).long(), torch.tensor(0.0))
        values = measured.compute()
    assert values["test_auroc"].isnan()
    assert values["test_specificity"].isnan()
    assert float(values["test_recall"]) == pytest.approx(2 / 3)
    assert [record.message.partition(":")[0] for record in caplog.records] == ["auroc is nan", "specificity is nan"]


@pytest.mark.parametrize("nan_row", [[torch.nan] * 3, [0.0, torch.nan, 1.0], [torch.inf, 0.0, 0.0]], ids=str)
def test_an_image_whose_logits_are_nan_is_wrong_and_its_loss_and_scores_are_nan(nan_row):
    names = ["accuracy", "top_2", "recall", "auroc", "average_precision", "calibration_error", "CohenKappa"]
    measured = classification(metrics.multiclass(names, 3)).results("test")
    logits, labels = torch.tensor([nan_row, nan_row, [0.0, 2.0, 1.0], [2.0, 0.0, 1.0]]), torch.tensor([0, 1, 1, 0])
    for x, y in zip(logits.split(1), labels.split(1), strict=True):
        measured.update(x, y, torch.nn.functional.cross_entropy(x, y))
    values = {name.removeprefix("test_"): float(value) for name, value in measured.compute().items()}
    assert [values[name] for name in ("accuracy", "top_2", "recall")] == [0.5, 0.5, 0.5]
    assert {name for name, value in values.items() if value != value} == {
        "loss",
        "auroc",
        "average_precision",
        "calibration_error",
    }
    measured.update(logits[2:], labels[2:], torch.tensor(0.5))  # the next epoch has no NaN
    assert float(measured.compute()["test_auroc"]) == 1


def test_arguments_and_no_metric_at_all():
    probabilities, labels = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), torch.tensor([0, 1, 1])
    (value,) = metrics.multiclass([{"FBetaScore": {"beta": 2.0, "average": "macro"}}], 2).values()
    precision, recall = torch.tensor([1 / 2, 1]), torch.tensor([1, 1 / 2])
    assert float(value(probabilities, labels)) == pytest.approx(
        float((5 * precision * recall / (4 * precision + recall)).mean())
    )
    with pytest.raises(ValueError, match="there are 2 classes: leave it out"):
        metrics.multiclass(["top_2"], 2)
    assert list(results([], probabilities, labels)) == ["test_loss"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "CohenKapa",
            "CohenKapa: torchmetrics.classification has no such metric of several classes; did you mean CohenKappa?",
        ),
        ("MultilabelRankingLoss", "no such metric of several classes; there are AUROC, "),
        ("top_5", "top_5: there are 3 classes: choose top_2 or less"),
        ("top_3", "top_3: there are 3 classes: choose top_2 or less"),
        ("ConfusionMatrix", "gives numbers of shape [3, 3] instead of one number"),
        ("ROC", "gives several results instead of one number"),
        ({"f1": {"average": None}}, "f1: gives numbers of shape [3] instead of one number"),
        ({"f1": {"avg": "macro"}}, "`avg`; arguments are given as {f1: {argument: value}}"),
        ("FBetaScore", "missing 1 required positional argument: 'beta'; arguments are given as {FBetaScore: {"),
    ],
)
def test_what_is_no_curve_is_refused_with_the_reason(name, words):
    with pytest.raises(ValueError, match=re.escape(words)) as refused:
        metrics.multiclass([name], 3)
    assert "\n" not in str(refused.value)


def test_numbers_of_all_classes_are_refused_where_they_are_as_many_as_the_classes():
    with pytest.raises(ValueError, match=r"StatScores: gives numbers of shape \[5\] instead of one number"):
        metrics.multiclass(["StatScores"], 5)


def test_a_result_that_torchmetrics_gives_as_an_integer_is_a_float():
    probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    measured = classification(metrics.multiclass(["MatthewsCorrCoef"], 2)).results("test")
    measured.update(probabilities.log(), torch.tensor([0, 0]), torch.tensor(0.0))
    value = measured.compute()["test_matthews_corr_coef"]
    assert (value.dtype, float(value)) == (torch.float32, 1.0)


def test_the_directions_that_are_known_without_torchmetrics_are_those_of_torchmetrics():
    for family in metrics.FAMILIES.values():
        for kind, arguments, higher in family.short.values():
            known = metrics._class(metrics.Choice(kind, kind, kind), family)
            if kind != "R2Score":  # torchmetrics says that higher is better, and means it; it is a property there
                assert known.higher_is_better is higher, (kind, arguments)


def test_the_direction_of_every_result():
    entries = ["accuracy", "top_5", "calibration_error", "HammingDistance", "EER", {"FBetaScore": {"beta": 2.0}}]
    directions = [
        metrics.higher_is_better(entries, name) for name in ("loss", "train_accuracy", *metrics.names(entries))
    ]
    assert directions == [False, True, True, True, False, False, None, True]
