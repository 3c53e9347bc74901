"""Measure trained networks on their test sets and write evaluation.json: `python src/evaluate.py --help`."""

import logging
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from command import cli
from command.job import job
from command.trained_run import open_run
from evaluation import several
from process.console import few_classes, print_summary
from process.errors import UserError
from process.files import write_json
from run.folder import EVALUATION
from settings import check

log = logging.getLogger(__name__)
opened: dict[str, Any] = {}  # the test data of the run before: several runs often have the same


@hydra.main(version_base="1.3", config_path="../config", config_name="evaluate")
@job
def main(config: DictConfig) -> None:
    from evaluation.measure import measure

    check(config)
    run = open_run(Path(config.run), config, config.ckpt)
    model = run.model("evaluate.py measures", "network", "test_step", "test_logits")
    result = measure(run, model, run.test_data(opened), list(config.sizes))
    result = {"checkpoint": str(run.checkpoint), **result}
    write_json(run.folder / EVALUATION, result)

    rows = {name: value for name, value in result.items() if not isinstance(value, dict | list)}
    classes = per_class_rows(result["per_class"], config.verbosity)
    print_summary("Evaluation", rows | classes | result.get("sizes", {}), config.verbosity)
    if broken := result.get("nan_images"):
        line = f"the outputs are NaN for {broken:,} of {result['images']:,} images, which count as incorrect"
        if not getattr(model, "skip_nonfinite", False):
            raise UserError(f"{line}: choose other weights by ckpt=, or allow it, model.skip_nonfinite=true")
        log.warning(line)


def per_class_rows(recalls: dict[str, Any], verbosity: int) -> dict[str, Any]:
    """Return the accuracies per class that the table shows: of many classes the lowest, and the number of others."""
    shown = dict(few_classes(list(recalls.items()), lambda row: 2 if row[1] is None else row[1], verbosity))
    left_out = len(recalls) - len(shown)
    return shown | ({f"{left_out:,} other classes": f"in {EVALUATION}; verbosity=2 shows all"} if left_out else {})


if __name__ == "__main__":
    cli.start(main, several.call)
