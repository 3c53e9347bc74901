"""Look inside a trained network: figures in its run folder and on its loggers: `python src/visualize.py --help`."""

import logging
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from command import cli
from command.classes import refuse_other_classes
from command.job import job
from command.one_device import build_trainer
from command.settings import check
from process.console import print_summary
from process.errors import UserError
from run.checkpoint import find_checkpoint, restore
from run.resume import locked, read_record

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../config", config_name="visualize")
@job
def main(config: DictConfig) -> None:
    check(config)
    folder = Path(config.run)
    checkpoint = find_checkpoint(folder, config.ckpt)
    record = read_record(folder)
    all_figures = config.figures if isinstance(config.figures, DictConfig) else {}
    chosen = {name: figure for name, figure in all_figures.items() if figure is not None}
    if not chosen:
        raise UserError("figures: none is left to draw; figures.NAME=null leaves one out")
    figures = [cli.build(figure) for figure in chosen.values()]
    data, model = cli.build(config.data), cli.build(config.model)
    data.prepare_data()
    data.setup()
    images = data.summary()["test"]
    if not images:
        raise UserError("this data set has no test images: nothing to draw")
    refuse_other_classes(folder, data.class_names)
    if "feature_maps" in chosen and chosen["feature_maps"].image >= images:
        raise UserError(f"image={config.image}: choose one of the test images, 0 to {images - 1}")
    restore(model, checkpoint)
    files = cli.build(config.files)
    files.prepare()  # before a logger writes: TensorBoard's thread would print a traceback
    loggers = build_loggers(config, folder)
    trainer = build_trainer(config, figures, [files, *loggers])
    trainer.test(model, data, verbose=False)
    written = files.write()
    for logger in loggers:
        logger.close(record)
    rows = {"of": checkpoint, "in": files.folder, "files": ", ".join(path.name for path in written)}
    print_summary("Figures", rows, config.verbosity)


def build_loggers(config: DictConfig, folder: Path) -> list[Any]:
    """Those of the run that take pictures; none while it trains, as a run has one process that logs."""
    try:
        with locked(folder):
            pass
    except UserError:
        log.info(f"{folder} is still going on: its loggers get no pictures")
        return []
    chosen = {name: logger for name, logger in config.loggers.items() if logger is not None}
    return cli.build(config.guard, loggers=[cli.build(logger) for logger in chosen.values()], names=list(chosen))


if __name__ == "__main__":
    cli.start(main)
