"""Write a trained network as ONNX and .pt2, for programs that know nothing of it: `python src/export.py --help`."""

import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig

from run import cli
from run.atomic import explained
from run.checkpoint import find_checkpoint, restore
from run.classes import class_names, count_by_record, refuse_other_classes
from run.console import print_summary
from run.job import job
from run.settings import check
from run.source import git_state

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../config", config_name="export")
@job
def main(config: DictConfig) -> None:
    check(config)
    folder, output = Path(config.run), Path(config.output).expanduser()
    count_by_record(config, folder)
    checkpoint = find_checkpoint(folder, config.ckpt)
    exporter = cli.build(config.exporter)
    model = cli.build(config.model)
    restore(model, checkpoint)
    facts = {
        "class_names": class_names(config, folder),
        "run": str(folder),
        "checkpoint": checkpoint.name,
        "project": config.project_name,
        "commit": (git_state() or {}).get("commit", ""),
    }
    tested = []
    if config.tested is not None:
        data = cli.build(config.data)
        tested = cli.build(config.tested, data=data)
        if tested:
            refuse_other_classes(folder, data.class_names)
    with explained(output):
        output.mkdir(parents=True, exist_ok=True)
    if not tested:
        log.info("no test set here: compared on noise alone")
    rows: dict[str, object] = {}
    for path, interface, found in exporter.export(model.network, output, facts, tested):
        size = f"{path.stat().st_size / 2**20:.1f} MiB"
        rows[path.name] = "; ".join([f"{interface.words} -> logits", size, *found.words()])
    print_summary("Export", {**rows, "folder": output}, config.verbosity)


if __name__ == "__main__":
    cli.start(main)
