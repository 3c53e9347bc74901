"""Write a trained network as ONNX and .pt2, for programs that know nothing of it: `python src/export.py --help`."""

import logging
from contextlib import suppress
from pathlib import Path

import hydra
from omegaconf import DictConfig

from command import cli
from command.classes import class_names, count_by_record, refuse_other_classes
from command.job import job
from command.settings import check
from process.console import print_summary
from process.errors import UserError
from process.files import refuse_closed, typed_path
from run.checkpoint import find_checkpoint, restore
from run.resume import read_record

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../config", config_name="export")
@job
def main(config: DictConfig) -> None:
    check(config)
    folder, output = Path(config.run), typed_path("output", config.output, "name a folder")
    refuse_closed(output if output.exists() else output.parent, "output=FOLDER")
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
        "commit": trained_commit(folder),
    }
    tested = []
    if config.tested is not None:
        data = cli.build(config.data)
        tested = cli.build(config.tested, data=data)
        if tested:
            refuse_other_classes(folder, data.class_names)
    if not tested:
        log.info("no test set here: compared on noise alone")
    rows: dict[str, object] = {}
    written = exporter.export(model.network, output, facts, tested)
    for path, interface, found in written:
        size = f"{path.stat().st_size / 2**20:.1f} MiB"
        rows[path.name] = "; ".join([f"{interface.words} -> logits", size, *found.words()])
    others = sorted({path.name for path in output.glob("model*")} - rows.keys())
    if others:
        log.warning(f"of an earlier export, and not written now: {', '.join(others)}")
    print_summary("Export", {**rows, "folder": output}, config.verbosity)


def trained_commit(folder: Path) -> str:
    """Of the code that trained the weights, with a + where it was changed; empty where nobody recorded it."""
    git: dict[str, object] = {}
    with suppress(UserError):  # damaged
        git = read_record(folder).get("git") or {}
    return str(git.get("commit") or "") + ("+" if git.get("dirty") else "")


if __name__ == "__main__":
    cli.start(main)
