"""Predict images, or bags of vectors, with a trained network: `python src/predict.py --help`."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig, OmegaConf

from command import cli
from command.job import job
from command.trained_run import open_run
from process.console import print_summary
from process.errors import UserError
from process.files import path_from_setting, refuse_unwritable, replacing
from settings import check

if TYPE_CHECKING:
    from prediction.table import Table

log = logging.getLogger(__name__)
OUTPUT = "name a file in an existing folder, such as output=predictions.csv"
LISTED = 5  # unreadable files that the terminal shows


@hydra.main(version_base="1.3", config_path="../config", config_name="predict")
@job
def main(config: DictConfig) -> None:
    check(config)
    if not OmegaConf.select(config, "input"):  # an empty path, of an unset shell variable, is the current directory
        raise UserError("which images? input=PATH: an image, a folder, a .zip, or a pattern such as 'photos/*.png'")
    output = path_from_setting("output", config.output, OUTPUT)
    if not output.parent.is_dir() or (output.exists() and not output.is_file()):
        raise UserError(f"output={output}: {OUTPUT}")
    refuse_unwritable(output.parent, "output=predictions.csv")
    run = open_run(Path(config.run), config, config.ckpt)
    of_bags = OmegaConf.select(config, "data.features") is not None
    lazy = OmegaConf.select(config, "data.lazy", default=False)
    parts, items = (config.bags, "bags") if of_bags else (config.large if lazy else config, "images")
    if of_bags and config.places:
        raise UserError("places=true: a network on vectors does not choose where to look: leave it out")
    files = cli.build(parts.files)(config.input)  # not in YAML, where ${x} in a path is a setting
    model = run.model("predict.py uses", "network", "task")
    predictor = cli.build(parts.predictor)(model.network, model.task)
    attention, places = output.with_name(f"{output.stem}_attention"), output.with_name(f"{output.stem}_places.csv")
    with replacing(output) as file:
        spread = predictor.draws > 1
        table = cli.build(config.table)(file, files.names, model.task, run.class_names(), spread=spread, items=items)
        callbacks = [table, *([cli.build(parts.attention)(attention, files)] if of_bags and config.attention else [])]
        callbacks += [cli.build(config.chosen_places)(places, files.names)] if config.places else []
        run.trainer(callbacks).predict(predictor, files.loader(), return_predictions=False)
        if not table.written:
            others = f", nor the other {len(table.unreadable) - 1:,}" if len(table.unreadable) > 1 else ""
            raise UserError(table.unreadable[0] + others)
    report(table, files.others, run.folder / "predict.log")
    other = {"places": places} if config.places else {"attention": attention}
    written = other if any(getattr(each, "written", 0) for each in callbacks[1:]) else {}
    print_summary("Prediction", {**table.totals(), "table": output, **written}, config.verbosity)


def report(table: "Table", others: list[str], log_file: Path) -> None:
    """Log the first predictions, the unreadable files (all of them in the log file), and the lines `others`."""
    for line in table.first:
        log.info(line)
    if more := table.written - len(table.first):
        log.info(f"and {more:,} others")
    listed = LISTED if os.access(log_file, os.W_OK) else len(table.unreadable)
    for line in table.unreadable[:listed]:
        log.warning(line)
    for line in table.unreadable[listed:]:
        logging.getLogger("failure").error(line)
    if more := len(table.unreadable[listed:]):
        log.warning(f"and {more:,} others that cannot be read; {log_file} lists all")
    for line in others:
        log.warning(line)


if __name__ == "__main__":
    cli.start(main)
