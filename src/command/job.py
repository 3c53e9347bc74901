"""Jobs, the runs that Hydra starts: a single one, or one of a sweep in the sweep's own process or in a worker."""

import functools
import logging
import math
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from command import trust
from command.trained_run import keep_facts
from process import interruption, ranks, requeue
from process.console import log_warnings
from process.errors import PastHydraError
from process.isolation import isolated
from run import signature, sweep_record
from run.folder import REPOSITORY
from run.record import Run, describe_error, is_recorded, used_hparams
from run.resume import earlier_record
from settings import LISTS, check, monitored, quote

# the launchers that a sweep treats specially: hydra/launcher=basic, joblib, submitit_local, submitit_slurm, ray
BASIC, JOBLIB, LOCAL, SLURM, RAY = (f"{name}Launcher" for name in ("Basic", "Joblib", "Local", "Slurm", "Ray"))


def job(function: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Decorate a command's function: an error ends a single run, and in a sweep only the job that raised it."""

    @functools.wraps(function)
    def decorated(config: DictConfig) -> Any:
        log_warnings()
        if isinstance(run := OmegaConf.select(config, "run", throw_on_missing=False), str):
            keep_facts(Path(run), config)
        logging.raiseExceptions = False  # a full disk is reported once, not for each line of train.log
        try:
            with interruption.handle_signals():
                if in_sweep(HydraConfig.get()):
                    return _job_of_sweep(function, config)
                return function(config)
        except interruption.Interrupted as interrupted:
            if not in_sweep(HydraConfig.get()) or is_serial(HydraConfig.get().launcher):
                raise
            if requeue.in_submitit():
                requeue.requeue_after(interrupted, Path(HydraConfig.get().sweep.dir, ".stop"))
            return None  # one job of several in workers: the sweep goes on without it
        except Exception as error:
            raise PastHydraError(error) from error

    return decorated


def _job_of_sweep(function: Callable[[DictConfig], Any], config: DictConfig) -> Any:
    """Reuse what an earlier attempt of this job has produced, or run it. Returns None if it fails."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with ExitStack() as stack:
        try:
            sweep_record.refuse(folder, None)
            facts = earlier_record(folder)
            if facts is not None and ranks.is_rank_zero():
                signature.sign_config(folder)  # Hydra has just written it anew
            if facts is not None and facts["status"] == "finished":
                return _objective(facts["best_score"])
            if facts is not None:
                config.resume = str(folder)
            stack.enter_context(isolated())
            return _objective(function(config))
        except ranks.FailureReportedElsewhere:
            return None
        except Exception as error:
            if not is_recorded(folder, error):
                sweep_record.refuse(folder, describe_error(error))
            return None


def record(config: DictConfig) -> Run:
    """Return the record of the job that Hydra has just started, in the folder that it made."""
    hydra = HydraConfig.get()
    config.hparams.monitor = monitored(config)
    overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # ${...} as it was written
    parsed = OverridesParser.create().parse_overrides(overrides)
    settings = {override.key_or_group: override.value() for override in parsed if not override.is_delete()}
    # for the filters of report.py: also the options that a default or a recipe chose
    composed = {group: option for group, option in hydra.runtime.choices.items() if not group.startswith("hydra/")}
    composed |= {f"hparams.{name}": value for name, value in used_hparams(config).items()}
    for group in {override.key_or_group for override in parsed if override.is_add()} & set(LISTS):
        settings[group] = composed[group] = _options_in(config[group], group, hydra)
    chosen = {"settings": settings, "composed": composed}
    relaunch = relaunch_command(hydra, resumed=config.resume is not None), hydra.runtime.cwd
    run = Run(Path(hydra.runtime.output_dir), config, overrides, chosen, relaunch, check, in_sweep=in_sweep(hydra))
    if not run.in_sweep:  # a sweep says itself how to continue
        interruption.remedy_sources.append(run.remedy)
    return run


def _options_in(parts: DictConfig, group: str, hydra: Any) -> list[str]:
    """Return the options of a group of which all parts are in the config: with `+callbacks=`, the default ones too."""
    order, found = list(parts), {}
    for source in hydra.runtime.config_sources:
        for path in Path(source.path, group).glob("*.yaml") if source.schema == "file" else ():
            names = [name for name in OmegaConf.load(path) if name != "defaults"]
            if names and set(names) <= set(order):
                found[path.stem] = order.index(names[0])
    return sorted(found, key=found.__getitem__)


def relaunch_command(hydra: Any, resumed: bool) -> list[str]:
    """Return the command that runs this job alone, in its folder: for the other ranks of a training."""
    folder = Path(hydra.runtime.output_dir).absolute()
    if in_sweep(hydra):  # sys.argv is that of the sweep, or of a worker
        flags = {"main": "--config-path", "command-line": "--config-dir"}
        configs = [f"{flags[s.provider]}={s.path}" for s in hydra.runtime.config_sources if s.provider in flags]
        number = [f"hydra.job.num={hydra.job.num}", f"hydra.job.id={hydra.job.id}"]
        arguments = [str(REPOSITORY / "src" / "train.py"), *configs, *hydra.overrides.task, *number]
        arguments += [quote(f"resume={folder}")] if resumed else []
    else:
        arguments = [str(Path(hydra.runtime.cwd, sys.argv[0])), *sys.argv[1:]]
        arguments += [trust.SWITCH] if trust.is_switched_on() else []
    return [sys.executable, *arguments, quote(f"hydra.run.dir={folder}"), "hydra.output_subdir=null"]


def _objective(score: Any) -> float | None:
    """Return the score as a search takes it; run.json holds NaN and infinity as text."""
    return None if score is None or not math.isfinite(float(score)) else float(score)


def in_sweep(hydra: Any) -> bool:
    return hydra.mode == RunMode.MULTIRUN


def launcher_kind(launcher: Any) -> str:
    """Return the class of the chosen launcher: BASIC, JOBLIB, LOCAL or another one."""
    return str(launcher._target_.rpartition(".")[2])


def parallel_jobs(launcher: Any) -> int:
    """Return how many jobs BASIC or JOBLIB runs at a time."""
    if launcher_kind(launcher) == BASIC:
        return 1
    from joblib import effective_n_jobs

    return int(effective_n_jobs(launcher.n_jobs))


def is_serial(launcher: Any) -> bool:
    """Return whether jobs run one after the other in the process of the sweep."""
    return launcher_kind(launcher) in (BASIC, JOBLIB) and parallel_jobs(launcher) == 1
