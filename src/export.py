"""Export a trained network to ONNX and .pt2, for programs without this code: `python src/export.py --help`."""

import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig

from command import cli
from command.job import job
from command.trained_run import open_run, read_intact_record, refuse_other_classes
from process.console import print_summary
from process.files import path_from_setting, refuse_unwritable
from settings import check

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../config", config_name="export")
@job
def main(config: DictConfig) -> None:
    from process.gpus import choose_accelerator

    check(config)
    choose_accelerator("cpu")  # torch.export asks the GPU for its random state: hide one that torch cannot use
    output = path_from_setting("output", config.output, "name a folder")
    refuse_unwritable(output if output.exists() else output.parent, "output=FOLDER")
    exporter = cli.build(config.exporter)
    run = open_run(Path(config.run), config, config.ckpt)
    model = run.model("export.py exports", "network", "task")
    facts = {
        "task": model.task.name,
        "class_names": run.class_names(),
        "run": str(run.folder),
        "checkpoint": run.checkpoint.name,
        "project": config.project_name,
        "commit": trained_commit(run.folder),
    }
    sample = None
    if config.tested is not None:
        data = cli.build(config.data)
        sample = cli.build(config.tested, data=data)
        if sample is not None:
            refuse_other_classes(run.folder, data.class_names)
    if sample is None:
        log.info("there is no test set here: the files are compared with the network on noise alone")
    rows: dict[str, object] = {}
    for path, interface, found in exporter.export(model.network, model.task, output, facts, sample):
        size = f"{path.stat().st_size / 2**20:.1f} MiB"
        rows[path.name] = "; ".join([f"{interface.words} -> {model.task.output_name}", size, *found.words()])
    if exporter.compared is not None:
        rows[f"{exporter.compared.metric} of model.*"] = exporter.compared.words()
    others = sorted({path.name for path in output.glob("model*")} - rows.keys())
    if others:
        log.warning(f"files of an earlier export, not written now: {', '.join(others)}")
    print_summary("Export", {**rows, "folder": output}, config.verbosity)


def trained_commit(folder: Path) -> str:
    """Return the commit of the training, followed by + if files differed from it; empty if it is not recorded."""
    git = read_intact_record(folder).get("git") or {}
    return str(git.get("commit") or "") + ("+" if git.get("dirty") else "")


if __name__ == "__main__":
    cli.start(main)
