"""Check of `hparams.monitor` for tasks of one's own: what they measure is known only when they are built."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from settings import TASK_MODULE, metrics_family, refuse_monitor, step_results, task_results

LOSSES = ("valid_loss", "train_loss")  # of every task


def asked_for_monitor(config: DictConfig) -> list[str]:
    """Return the names of the tasks that have to be built to know whether there is a metric `hparams.monitor`."""
    tasks = config.get("task") or {}
    if "run" in config or OmegaConf.select(config, "model._target_") != TASK_MODULE or config.hparams.monitor in LOSSES:
        return []
    return [str(name) for name, task in tasks.items() if metrics_family(task) is None]


def refuse_unmeasured(config: DictConfig, built: Mapping[str, Any]) -> None:
    """Raise a UserError if the tasks, of which those of one's own are given, measure no `hparams.monitor`.

    Raise it too for the wrong `hparams.monitor_mode`. A name that an undeclared step metric may have passes.
    """
    measured, steps = task_results(config), dict[str, bool | None](step_results(config))
    unknown = set()
    for name, task in built.items():
        prefix = f"{name}_" if len(config.task) > 1 else ""
        measured[f"{prefix}loss"] = False
        measured |= {f"{prefix}{metric}": each.higher_is_better for metric, each in task.metrics.items()}
        of_task = task.declared_steps()
        declared = {f"{prefix}{step}": higher for step, higher in (of_task or {}).items()}
        steps |= declared
        if task.measured_by_steps:
            measured |= declared
        if of_task is None:
            unknown |= {"train_", "valid_"} if task.measured_by_steps else {"train_"}
    refuse_monitor(config, measured, steps, " ".join(sorted(unknown)))
