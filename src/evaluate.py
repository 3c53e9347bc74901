"""Measure a trained network on its test set and write evaluation.json: `python src/evaluate.py --help`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from command import cli
from command.job import job
from command.trained_run import open_run
from process.console import print_summary
from process.files import write_json
from settings import check

log = logging.getLogger(__name__)

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
    data, trainer = run.test_data(), run.trainer()

    result: dict[str, Any] = {"checkpoint": str(run.checkpoint), "images": len(data.source("test"))}
    result |= measure(trainer.predict(model, data.test_dataloader()), model, data.class_names)
    if draws_patches(model.network):
        result["sizes"] = {}
        places = model.network.max_patch_num or max(config.sizes, default=0)
        if left_out := [size for size in config.sizes if size > places]:
            log.info(f"sizes {left_out} are left out: a patch has {places} places, and hparams.patch_replace=false")
        for size in [size for size in config.sizes if size <= places]:
            model.network.patch_num = size
            measured = measure(trainer.predict(model, data.test_dataloader()), model, data.class_names)
            result["sizes"][f"test_accuracy/n={size}"] = measured["test_accuracy"]
    write_json(run.folder / "evaluation.json", result)

    rows = {name: value for name, value in result.items() if not isinstance(value, dict | list)}
    print_summary("Evaluation", rows | result["per_class"] | result.get("sizes", {}), config.verbosity)


def measure(batches: list[tuple["Tensor", "Tensor"]], model: "Classifier", class_names: list[str]) -> dict[str, Any]:
    """Return the loss and the config's metrics, the accuracy of each class, and the confusion matrix.

    A row of the matrix is a true class, a column a predicted one.
    """
    import torch
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    logits_NK, labels_N = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
    logits_NK, labels_N = logits_NK.float().cpu(), labels_N.cpu()  # half precision would round the loss
    confusion_KK = multiclass_confusion_matrix(logits_NK, labels_N, num_classes=len(class_names))
    counts_K = confusion_KK.sum(1).tolist()
    correct_K = confusion_KK.diag().tolist()
    recall_K = [correct / count if count else None for correct, count in zip(correct_K, counts_K, strict=True)]
    model.test.update(logits_NK, labels_N, model.loss(logits_NK, labels_N))
    return {
        "test_accuracy": float(confusion_KK.diag().sum() / confusion_KK.sum()),  # the config's metrics may lack it
        **{name: float(value) for name, value in model.test.compute().items()},
        "per_class": {f"test_accuracy/class={name}": r for name, r in zip(class_names, recall_K, strict=True)},
        "confusion_matrix": confusion_KK.tolist(),
    }


if __name__ == "__main__":
    cli.start(main)
