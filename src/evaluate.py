"""Measure trained networks on their test sets and write evaluation.json: `python src/evaluate.py --help`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from command import cli
from command.job import job
from command.trained_run import open_run
from evaluation import several
from process.console import print_summary
from process.errors import UserError
from process.files import write_json
from settings import check

log = logging.getLogger(__name__)
opened: dict[str, Any] = {}  # the test data of the run before: several runs often have the same

if TYPE_CHECKING:
    from torch import Tensor

    from model import Classifier


@hydra.main(version_base="1.3", config_path="../config", config_name="evaluate")
@job
def main(config: DictConfig) -> None:
    from set_module.set_network import draws_patches

    check(config)
    run = open_run(Path(config.run), config, config.ckpt)
    model = run.model("evaluate.py measures", "network", "predict_step", "loss", "test")
    data, trainer = run.test_data(opened), run.trainer()

    logits_NK, labels_N = predicted(trainer, model, data)
    result: dict[str, Any] = {"checkpoint": str(run.checkpoint), "images": len(labels_N)}
    result |= measure(logits_NK, labels_N, model, data.class_names)
    if draws_patches(model.network):
        result["sizes"] = measure_sizes(config.sizes, trainer, model, data)
    write_json(run.folder / several.FILE, result)

    rows = {name: value for name, value in result.items() if not isinstance(value, dict | list)}
    print_summary("Evaluation", rows | result["per_class"] | result.get("sizes", {}), config.verbosity)
    if broken := int(is_nan(logits_NK).sum()):
        raise UserError(
            f"the network's outputs are NaN for {broken:,} of {len(labels_N):,} images, which count as incorrect: its "
            "weights are broken, choose others by ckpt="
        )


def predicted(trainer: Any, model: "Classifier", data: Any) -> tuple["Tensor", "Tensor"]:
    """Return the logits [N, K] of the test images, and their labels [N]."""
    import torch

    batches = trainer.predict(model, data.test_dataloader())
    logits_NK, labels_N = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
    return logits_NK.float().cpu(), labels_N.cpu()  # half precision would round the loss


def measure_sizes(sizes: list[int], trainer: Any, model: "Classifier", data: Any) -> dict[str, float]:
    """Return the accuracy at each number of patches."""
    network: Any = model.network
    places = network.max_patch_num or max(sizes, default=0)
    if left_out := [size for size in sizes if size > places]:
        log.info(f"sizes {left_out} are left out: a patch has {places} places, and hparams.patch_replace=false")
    found = {}
    for size in [size for size in sizes if size <= places]:
        network.patch_num = size
        found[f"test_accuracy/n={size}"] = float(correct(*predicted(trainer, model, data)).double().mean())
    return found


def is_nan(logits_NK: "Tensor") -> "Tensor":
    """Return of which images a probability is NaN [N]."""
    return logits_NK.softmax(1).isnan().any(1)


def correct(logits_NK: "Tensor", labels_N: "Tensor") -> "Tensor":
    """Return which images are classified correctly [N]; one of which a probability is NaN is not."""
    from metrics import wrong_where_nan

    return wrong_where_nan(logits_NK.softmax(1), labels_N).argmax(1) == labels_N


def measure(logits_NK: "Tensor", labels_N: "Tensor", model: "Classifier", class_names: list[str]) -> dict[str, Any]:
    """Return the loss and the config's metrics, the accuracy of each class, and the confusion matrix.

    A row of the matrix is a true class, a column a predicted one; images of which a probability is NaN are left out.
    """
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    correct_N, classes = correct(logits_NK, labels_N), len(class_names)
    counts_K = labels_N.bincount(minlength=classes).tolist()
    correct_K = labels_N[correct_N].bincount(minlength=classes).tolist()
    recall_K = [hits / count if count else None for hits, count in zip(correct_K, counts_K, strict=True)]
    valid_N = ~is_nan(logits_NK)
    confusion_KK = multiclass_confusion_matrix(logits_NK[valid_N], labels_N[valid_N], num_classes=classes)
    model.test.update(logits_NK, labels_N, model.loss(logits_NK, labels_N))
    return {
        "test_accuracy": float(correct_N.double().mean()),  # the config's metrics may lack it
        **{name: float(value) for name, value in model.test.compute().items()},
        "per_class": {f"test_accuracy/class={name}": r for name, r in zip(class_names, recall_K, strict=True)},
        "confusion_matrix": confusion_KK.tolist(),
    }


if __name__ == "__main__":
    cli.start(main, several.call)
