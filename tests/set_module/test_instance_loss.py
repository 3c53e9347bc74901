import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from set_module.instance_loss import InstanceLoss, top_mean
from set_module.set_batch import SetBatch

K = 3
LABELS = torch.tensor([2, 0, 1])


def bags() -> tuple[torch.Tensor, SetBatch]:
    """Return the logits of three bags, and of their instances."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(10, K, dtype=torch.float64, generator=generator)
    return torch.randn(3, K, dtype=torch.float64, generator=generator), SetBatch(logits, [4, 1, 5])


@pytest.mark.parametrize("top", [1, 2, 100])
def test_the_largest_logits_of_each_class_learn_the_label(top):
    outputs, logits = bags()
    best = torch.stack([x.sort(0, descending=True).values[:top].mean(0) for x in logits])
    torch.testing.assert_close(top_mean(logits, top), best)
    loss = InstanceLoss(nn.CrossEntropyLoss(), bag_weight=0.3, top=top)(outputs, LABELS, {"instance_logits": logits})
    torch.testing.assert_close(loss, 0.3 * cross_entropy(outputs, LABELS) + 0.7 * cross_entropy(best, LABELS))


def test_rows_of_labels_learn_by_the_loss_that_is_given():
    outputs, logits = bags()
    rows = torch.tensor([[0, 1, 1], [0, 0, 0], [1, 0, 1]], dtype=torch.float64)
    loss = InstanceLoss(nn.BCEWithLogitsLoss())(outputs, rows, {"instance_logits": logits})
    best = torch.stack([x.amax(0) for x in logits])
    both = [binary_cross_entropy_with_logits(each, rows) for each in (outputs, best)]
    torch.testing.assert_close(loss, sum(both) / 2)


def test_every_instance_of_a_negative_bag_is_negative():
    outputs, logits = bags()
    loss = InstanceLoss(nn.CrossEntropyLoss(), bag_weight=0, negative=1)(outputs, LABELS, {"instance_logits": logits})
    first, second, third = logits
    expected = cross_entropy(third, torch.ones(5, dtype=torch.int64))
    for x, label in ((first, 2), (second, 0)):
        expected = expected + cross_entropy(x.amax(0, keepdim=True), torch.tensor([label]))
    torch.testing.assert_close(loss, expected / 3)


def test_what_does_not_fit_is_refused():
    outputs, logits = bags()
    for settings, message in (({"bag_weight": -1}, "bag_weight=-1: choose 0 to 1"), ({"top": 0}, "top=0: choose >= 1")):
        with pytest.raises(ValueError, match=message):
            InstanceLoss(nn.CrossEntropyLoss(), **settings)
    with pytest.raises(ValueError, match=r"\+model.network.returns=\[instance_logits\]"):
        InstanceLoss(nn.CrossEntropyLoss())(outputs, LABELS, {})
    with pytest.raises(ValueError, match="negative=0 takes one label for each set"):
        InstanceLoss(nn.BCEWithLogitsLoss(), negative=0)(outputs, torch.zeros(3, K), {"instance_logits": logits})
