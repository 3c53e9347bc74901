from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import Trainer

from evaluation.instances import Instances, auroc, top1
from set_module.set_batch import SetBatch

BAGS = SetBatch(
    torch.tensor(
        [  # columns 0 and 1 of the scores
            [[0.0, 0.1], [0.0, 0.5], [1.0, 0.2], [0.0, 0.2]],
            [[0.2, 0.9], [0.8, 0.1], [0.3, 0.0], [0.1, 0.0]],
            [[0.4, 0.4], [0.3, 0.3], [0.2, 0.2], [0.1, 0.1]],
        ],
        dtype=torch.float64,
    ).flatten(0, 1),
    [4, 4, 4],
)
LABELS = [torch.tensor([False, True, False, True]), torch.tensor([True, False, True, False]), None]
TARGETS = torch.tensor([1, 0, 1])


def results(labels=LABELS, **knows):
    """Return the results of a network that knows BAGS of each element, in batches of one and two."""
    network = SimpleNamespace(cut=lambda sets, index_B: (sets, None), encode=lambda sets, corners: sets)
    network.other_outputs = lambda: {name: lambda sets: sets for name in knows["names"]}
    network.classifier = SimpleNamespace(weighs_each_class=knows.get("weighs_each_class", False))
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    instances = Instances(labels)
    for numbers in ([2], [1, 0]):
        batch = BAGS[numbers], TARGETS[numbers], torch.tensor(numbers)
        instances.on_test_batch_end(trainer, SimpleNamespace(network=network), None, batch)
    return instances.results()


def test_weights_of_each_class_are_those_of_the_label():
    # bag 0, column 1: 0.5 and 0.2 against 0.1 and 0.2: 3.5 of 4 pairs; bag 1, column 0: 0.2 and 0.3 against 0.8 and 0.1
    expected = {"test_weights_auroc": pytest.approx((3.5 / 4 + 2 / 4) / 2), "test_weights_top1": 0.5}
    assert results(names=["weights", "cluster_logits"], weighs_each_class=True) == expected


def test_weights_of_heads_are_their_mean():
    # bag 0: 0.25 and 0.1 against 0.05 and 0.6; bag 1: 0.55 and 0.15 against 0.45 and 0.05
    expected = {"test_weights_auroc": pytest.approx((2 / 4 + 3 / 4) / 2), "test_weights_top1": 0.5}
    assert results(names=["weights"]) == expected


def test_logits_are_compared_with_those_of_the_other_classes():
    # bag 0, column 1 - 0: 0.5 and 0.2 against 0.1 and -0.8; bag 1, column 0 - 1: -0.7 and 0.3 against 0.7 and 0.1
    expected = {"test_instance_logits_auroc": pytest.approx((4 / 4 + 1 / 4) / 2), "test_instance_logits_top1": 0.5}
    assert results(names=["instance_logits"]) == expected


def test_bags_of_one_kind_of_element_and_networks_that_know_nothing_have_no_results():
    assert results([torch.ones(4).bool(), torch.zeros(4).bool(), None], names=["weights"]) == {}
    assert results(names=[]) == {}


def test_ties_count_half():
    evidence = torch.tensor([True, False, False, False])
    assert auroc(torch.zeros(4), evidence) == 0.5
    assert top1(torch.zeros(4), evidence) == 0.25
