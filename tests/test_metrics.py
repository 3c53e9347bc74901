import re

import pytest
import torch

import metrics
from model import Results


def results(names, probabilities, labels, batches=1):
    measured = Results("test", metrics.build(names, probabilities.shape[1]))
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


def test_metrics_that_agree_on_the_first_batch_stay_apart():
    probabilities = torch.tensor([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1]])
    values = results(["accuracy", "top_2"], probabilities, torch.tensor([0, 0]), batches=2)
    assert (values["test_accuracy"], values["test_top_2"]) == (0.5, 1)


def test_arguments_and_no_metric_at_all():
    probabilities, labels = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), torch.tensor([0, 1, 1])
    (value,) = metrics.build([{"FBetaScore": {"beta": 2.0, "average": "macro"}}], 2).values()
    precision, recall = torch.tensor([1 / 2, 1]), torch.tensor([1, 1 / 2])
    assert float(value(probabilities, labels)) == pytest.approx(
        float((5 * precision * recall / (4 * precision + recall)).mean())
    )
    with pytest.raises(ValueError, match="there are 2 classes: leave it out"):
        metrics.build(["top_2"], 2)
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
        metrics.build([name], 3)
    assert "\n" not in str(refused.value)


def test_the_directions_that_are_known_without_torchmetrics_are_those_of_torchmetrics():
    from torchmetrics import classification

    for kind, higher in metrics.DIRECTIONS.items():
        assert getattr(classification, metrics.PREFIX + kind).higher_is_better is higher


def test_the_direction_of_every_result():
    entries = ["accuracy", "top_5", "calibration_error", "HammingDistance", "EER", {"FBetaScore": {"beta": 2.0}}]
    directions = [
        metrics.higher_is_better(entries, name) for name in ("loss", "train_accuracy", *metrics.names(entries))
    ]
    assert directions == [False, True, True, True, False, False, None, True]
