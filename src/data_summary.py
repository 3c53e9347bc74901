"""Measure a data set, and print what its YAML needs: `python src/data_summary.py --help`."""

import logging
from functools import partial
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from command import cli, hints
from command.job import job
from process.console import few_classes, open_console
from process.errors import UserError
from settings import check

if TYPE_CHECKING:
    from rich.table import Table

    from datamodule.data_module import DataModule

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../config", config_name="data_summary")
@job
def main(config: DictConfig) -> None:
    from rich.progress import track

    check(config)
    data = cli.build(config.data)
    if not hasattr(data, "ordered_dataloader"):
        raise UserError(f"data_summary.py measures a DataModule of this project, and {config.data._target_} is none")
    data.prepare_data()
    data.setup("fit")
    console = open_console(config.verbosity)
    for task in class_tasks(data):
        console.print(class_table(data, config.verbosity, task))
    items = "images" if data.features is None else "sets"
    batches = track(data.ordered_dataloader("train"), f"training {items}", console=console, transient=True)
    mean, std = cli.build(config.statistics)(batches)
    for channel in [number for number, value in enumerate(std) if value == 0]:
        which = f"pixels of channel {channel}" if data.features is None else f"values of feature {channel}"
        log.warning(f"all {which} are equal: its std is 0, which divides nothing: 1 is given instead")
        std[channel] = 1.0
    facts = {"mean": rounded(mean), "std": rounded(std)}
    names = ("num_classes", "target_shape", "channels", "image_size", "features")
    known = {name: config.data.get(name) for name in names}
    given = {name: value for name, value in {**known, **facts}.items() if value is not None}
    lines = [*new_data_set(config, data), *(f"{name}: {value}" for name, value in given.items())]
    words = [hints.shell_quoted(f"data.{name}={value}".replace(" ", "")) for name, value in facts.items()]
    console.print(*lines, "", " ".join(words), sep="\n", highlight=False, markup=False, soft_wrap=True)


def new_data_set(config: DictConfig, data: "DataModule") -> list[str]:
    """Return the first lines of a YAML for the settings of the data set on the command line; none if there are none.

    It builds on the chosen option. Only what its class takes (data.root) stands there, not what all data sets have
    (data.valid, data.limit_train).
    """
    accepted = data.own_settings()
    chosen = HydraConfig.get()
    typed = [word.lstrip("+").partition("=")[0] for word in chosen.overrides.task]
    names = [name.removeprefix("data.") for name in typed if name.startswith("data.")]
    own = {name: config.data[name] for name in names if name in accepted}
    built_on = f"defaults: [{chosen.runtime.choices['data']}, _self_]"
    values = OmegaConf.to_yaml(OmegaConf.create(own), resolve=True).splitlines()
    return ["# config/data/NAME.yaml", built_on, *values] if own else []


def class_tasks(data: "DataModule") -> list[str | None]:
    """Return the tasks whose targets are classes, labels [M] or rows [M, K] of 0 and 1; [None] for unnamed targets."""
    targets = data.targets("train")
    if not isinstance(targets, dict) or data.num_classes is None:
        return [None]
    labels = [name for name, each in targets.items() if each.ndim == 1 and not each.is_floating_point()]
    rows = [name for name, each in targets.items() if each.shape[1:] == (data.num_classes,)]
    return [name for name in targets if name in labels + rows]


def class_table(data: "DataModule", verbosity: int, task: str | None = None) -> "Table":
    """Return the number of items of each class in each part, and of all items; only of all for data without classes.

    Of many classes it shows those with the fewest training items, and the least and most items of an other class.
    Data with the targets of several tasks have a table for each `task`.
    """
    from rich.table import Table

    parts, summary = ("train", "valid", "test"), data.summary()
    table = Table(task or ("class" if data.num_classes else ""), show_footer=True)
    table.columns[0].footer = "all"
    for part in parts:
        table.add_column(part, f"{summary[part]:,}", justify="right")
    classes = []
    if data.num_classes:
        classes = list(zip(data.class_names, *(data.class_counts(part, task) for part in parts), strict=True))
    shown = few_classes(classes, lambda row: row[1], verbosity)
    for name, *counts in shown:
        table.add_row(name, *(f"{count:,}" for count in counts))
    if others := [counts for name, *counts in classes if name not in {row[0] for row in shown}]:
        ranges = [f"{min(count):,} to {max(count):,}" for count in zip(*others, strict=True)]
        table.add_row(f"{len(others):,} others, each (verbosity=2 shows all)", *ranges)
    return table


def rounded(values: list[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


if __name__ == "__main__":
    cli.start(main, partial(cli.call, folder="."))
