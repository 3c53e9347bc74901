"""Draw figures of a trained network into its run folder and to its loggers: `python src/visualize.py --help`."""

import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig

from command import cli
from command.job import job
from command.trained_run import open_run
from process.console import print_summary
from process.errors import UserError
from run.folder import locked, read_run_json
from settings import check

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../config", config_name="visualize")
@job
def main(config: DictConfig) -> None:
    from training_log import usable

    check(config)
    run = open_run(Path(config.run), config, config.ckpt)
    record = read_run_json(run.folder)
    all_figures = config.figures if isinstance(config.figures, DictConfig) else {}
    chosen = {name: figure for name, figure in all_figures.items() if figure is not None}
    if not chosen:
        raise UserError("figures: none is left to draw; figures.NAME=null leaves one out")
    built = {str(name): cli.build(figure) for name, figure in chosen.items()}
    model = run.model("visualize.py looks into", "network", "test_step")
    figures = usable(model, built)
    if not figures:
        raise UserError(f"figures: {', '.join(built)} cannot be drawn of this run: they are of other tasks")
    data = run.test_data()
    images = len(data.source("test"))
    if "feature_maps" in chosen and chosen["feature_maps"].image >= images:
        raise UserError(f"image={config.image}: choose one of the test images, 0 to {images - 1}")
    files = cli.build(config.files)
    files.prepare()  # raises before a logger writes: TensorBoard's thread would print a traceback
    loggers = cli.build_loggers(config) if has_ended(run.folder) else []
    run.trainer(figures, [files, *loggers]).test(model, data, verbose=False)
    written = files.write()
    for logger in loggers:
        logger.close(record)
    rows = {"checkpoint": run.checkpoint, "folder": files.folder, "files": ", ".join(path.name for path in written)}
    print_summary("Figures", rows, config.verbosity)


def has_ended(folder: Path) -> bool:
    """Return whether the run has ended: only one process may write to its loggers."""
    try:
        with locked(folder):
            return True
    except UserError:
        log.info(f"{folder} is still training: its loggers get no images")
        return False


if __name__ == "__main__":
    cli.start(main)
