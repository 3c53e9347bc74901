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
from process.console import print_summary
from process.errors import UserError
from process.files import write_json
from run.folder import EVALUATION
from settings import check

log = logging.getLogger(__name__)
opened: dict[str, Any] = {}  # the test data of the run before: several runs often have the same


@hydra.main(version_base="1.3", config_path="../config", config_name="evaluate")
@job
def main(config: DictConfig) -> None:
    from evaluation.measure import measure, rows

    check(config)
    run = open_run(Path(config.run), config, config.ckpt)
    model = run.model("evaluate.py measures", "network", "test_step", "task")
    result = measure(run, model, run.test_data(opened), list(config.sizes))
    result = {"checkpoint": str(run.checkpoint), **result}
    write_json(run.folder / EVALUATION, result)

    print_summary("Evaluation", rows(result, config.verbosity), config.verbosity)
    items = "images" if "images" in result else "sets"
    if broken := result.get(f"nan_{items}"):
        effect = "count as incorrect" if model.task.class_logits else "make metrics nan"
        line = f"the outputs are NaN for {broken:,} of {result[items]:,} {items}, which {effect}"
        if not getattr(model, "skip_nonfinite", False):
            raise UserError(f"{line}: choose other weights by ckpt=, or allow it, model.skip_nonfinite=true")
        log.warning(line)


if __name__ == "__main__":
    cli.start(main, several.call)
