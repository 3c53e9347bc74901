"""The measurement of one network: the test of its training, at other numbers of patches if asked for, and per class."""

# N images, K classes

import logging
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from set_module.set_network import draws_patches, patch_num_limit
from task.metrics import wrong_where_nan

log = logging.getLogger(__name__)


class Outputs(Callback):
    """The logits [N, K] and labels [N] of a test."""

    def __init__(self) -> None:
        self.batches: list[tuple[Tensor, Tensor]] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self.batches.append((outputs.float().cpu(), batch[1].cpu()))  # half precision makes ties

    def joined(self) -> tuple[Tensor, Tensor]:
        logits_NK, labels_N = (torch.cat(tensors) for tensors in zip(*self.batches, strict=True))
        return logits_NK, labels_N


def measure(run: Any, model: Any, data: Any, sizes: list[int]) -> dict[str, Any]:
    """Return the results of the test, accuracies at `sizes` and per class, the confusion matrix, the number of images.

    A row of the matrix is a true class, a column a predicted one. Images of which a probability is NaN count as
    incorrect and are not in the matrix; `nan_images` is their number, if there are any.
    """
    model.sizes = possible(sizes, model.network)
    model.largest_size = max(model.sizes, default=None)
    outputs = Outputs()
    trainer = run.trainer(callbacks=[outputs], limit_test_batches=1.0)
    (tested,) = trainer.test(model, data.test_dataloader(), verbose=False)
    logits_NK, labels_N = outputs.joined()

    of_sizes = [f"test_accuracy/n={size}" for size in model.sizes]
    accuracy = f"test_accuracy{getattr(model, 'name_suffix', '')}"
    probabilities_NK, classes = logits_NK.softmax(1), len(data.class_names)
    correct_N = wrong_where_nan(probabilities_NK, labels_N).argmax(1) == labels_N
    counts_K, correct_K = (labels.bincount(minlength=classes).tolist() for labels in (labels_N, labels_N[correct_N]))
    recall_K = [hits / count if count else None for hits, count in zip(correct_K, counts_K, strict=True)]
    valid_N = ~probabilities_NK.isnan().any(1)
    confusion_KK = multiclass_confusion_matrix(logits_NK[valid_N], labels_N[valid_N], num_classes=classes)
    broken = int((~valid_N).sum())
    return {
        "images": len(labels_N),
        **({"nan_images": broken} if broken else {}),
        accuracy: float(correct_N.double().mean()),  # the config's metrics may lack it
        **{name: value for name, value in tested.items() if name not in of_sizes},
        "per_class": {f"{accuracy}/class={name}": r for name, r in zip(data.class_names, recall_K, strict=True)},
        "confusion_matrix": confusion_KK.tolist(),
        **({"sizes": {name: tested[name] for name in of_sizes}} if draws_patches(model.network) else {}),
    }


def possible(sizes: list[int], network: Any) -> list[int]:
    """Return the sizes for which there are enough places; log the others."""
    if not draws_patches(network):
        return []
    places = patch_num_limit(network) or max(sizes, default=0)
    if left_out := [size for size in sizes if size > places]:
        log.info(f"sizes {left_out} are left out: a patch has {places} places, and hparams.patch_replace=false")
    return [size for size in sizes if size <= places]
