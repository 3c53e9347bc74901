"""Comparison of what a network knows of each element of a bag with the labels of the elements, if they are known."""

# B bags, n elements of one bag, H columns of scores, K classes

from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

SCORES = "weights", "instance_logits"  # what a network may know of each element, see PatchNetwork.other_outputs


class Instances(Callback):
    """Comparison of the scores of elements with their labels, in the test bags that hold evidence and others.

    The score of an element is its attention weight, of several heads the mean, of a branch for each class that of the
    bag's label; and its log-probability of the bag's label by its own logits. Each bag is ranked by itself, as weights
    sum to 1 over a bag.

    Args:
        labels: which elements of each bag are evidence for its label, bool [n]; None where unknown.
    """

    def __init__(self, labels: Sequence[Tensor | None]) -> None:
        self.labels = labels
        self.found: dict[str, list[tuple[float, float]]] = {}  # name of the scores -> (auroc, top1) of each bag

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        inputs, targets_B, index_B = batch
        network: Any = pl_module.network
        others = network.other_outputs() if hasattr(network, "other_outputs") else {}
        with trainer.precision_plugin.forward_context():
            features = network.encode(*network.cut(inputs, index_B)) if others else None
            found = {name: others[name](features) for name in SCORES if name in others}
        for name, scores in found.items():
            for bag, label, scores_nH in zip(index_B.tolist(), targets_B.tolist(), scores, strict=True):
                evidence_n = self.labels[bag]
                if evidence_n is not None and evidence_n.any() and not evidence_n.all():
                    scores_n = _of_label(name, network, scores_nH.double().cpu(), label)
                    self.found.setdefault(name, []).append((auroc(scores_n, evidence_n), top1(scores_n, evidence_n)))

    def results(self) -> dict[str, float]:
        """Return test_weights_auroc, test_weights_top1 and the like, means over the bags."""
        means = {name: torch.tensor(values).mean(0).tolist() for name, values in self.found.items()}
        return {
            f"test_{name}_{metric}": value
            for name, values in means.items()
            for metric, value in zip(("auroc", "top1"), values, strict=True)
        }


def auroc(scores_n: Tensor, evidence_n: Tensor) -> float:
    """Return the share of the pairs of evidence and another element in which evidence scores more; ties count half."""
    others = scores_n[~evidence_n].sort().values
    below, up_to = (torch.searchsorted(others, scores_n[evidence_n], right=right) for right in (False, True))
    return float((below + up_to).double().mean()) / (2 * len(others))


def top1(scores_n: Tensor, evidence_n: Tensor) -> float:
    """Return whether the element of the largest score is evidence, 0 or 1; of those that tie, the mean."""
    return float(evidence_n[scores_n == scores_n.max()].double().mean())


def _of_label(name: str, network: Any, scores_nH: Tensor, label: int) -> Tensor:
    if name == "instance_logits":
        return scores_nH.log_softmax(1)[:, label]
    of_classes = getattr(getattr(network, "classifier", None), "weighs_each_class", False)
    return scores_nH[:, label] if of_classes else scores_nH.mean(1)
