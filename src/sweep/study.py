"""Searches by Optuna (config/hparams_search), as far as Hydra's Optuna sweeper leaves them to its user.

The direction and the name of the study (sweeps with the same name continue one study), the run folder of each trial,
and the remaining trials of an interrupted sweep.
"""

import fcntl
import hashlib
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

import settings
from command import cli, job
from process.errors import UserError, first_line
from sweep import plan, workers

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import BaseTrial, Trial

log = logging.getLogger(__name__)

SWEEPER = "hydra_plugins.hydra_optuna_sweeper"
FOLDER = "folder"  # attribute of a trial: experiment/date/time/number, the end of the path of its run folder
LOCKED_FOR = 60  # seconds that a SQLite file may be locked by another process; SQLite's own default is 5
ON_CLUSTER = 8  # trials at once; the next batch of trials learns from them


def prepare(config: DictConfig, folder: Path) -> None:
    """Complete the config of a sweep by Optuna before Hydra builds the sweeper from it; leave other sweeps unchanged.

    `direction` follows from hparams.monitor_mode. `n_jobs` 0 becomes as many as the launcher runs at once, `study_name`
    null the name from `study_name`. When a sweep is resumed, `n_trials` becomes what is left. Raises a UserError where
    storage and sweep do not fit together.
    """
    sweeper = config.hydra.sweeper
    if not sweeper._target_.startswith(SWEEPER):
        return
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for module in ("optuna", SWEEPER):  # Hydra's sweeper still uses what Optuna 6 will remove
        warnings.filterwarnings("ignore", category=FutureWarning, module=module)
    with read_write(config), open_dict(config):
        sweeper.direction = {"max": "maximize", "min": "minimize"}[config.hparams.monitor_mode]
        sweeper.n_jobs = sweeper.n_jobs or at_once(config.hydra.launcher)
        sweeper.custom_search_space = sweeper.custom_search_space or f"{__name__}.note_folder"
        jobs = [path for path in folder.iterdir() if path.name.isdecimal()]
        if sweeper.storage is None:
            if jobs:
                raise UserError(f"{folder}: the study was kept in memory (hydra.sweeper.storage=null) and is lost")
            return
        sweeper.study_name = sweeper.study_name or study_name(config)
        shown, sweeper.storage = sweeper.storage, waiting(sweeper.storage)
        study = open_study(sweeper.storage, sweeper.study_name, sweeper.direction)
        if jobs and not latest_trials(study, sweep_of(folder)):
            raise UserError(f"{folder}: {shown} holds no trial of this sweep: restore it, or start a new one")
        log.info(f"study {study.study_name!r} in {shown}: {len(study.trials)} trials so far")
        if OmegaConf.select(sweeper, "sampler.seed") is not None:
            sweeper.sampler.seed += len(study.trials)  # with the same seed a continued study would repeat its trials
        numbers = remaining_jobs(study, folder, sweeper.n_trials)
        sweeper.n_trials = len(numbers)
        if numbers != list(range(len(numbers))):  # Hydra counts jobs from 0
            config.hydra.overrides.hydra += [
                f"+hydra.callbacks.sweep.numbers={numbers}",
                "hydra.sweep.subdir='${oc.select:hydra.callbacks.sweep.numbers.${hydra.job.num}}'",
            ]


def note_folder(config: DictConfig, trial: "Trial") -> None:
    """Give the trial the name of its folder: optuna-dashboard shows it, and a resumed sweep finds the trial by it.

    Hydra's sweeper calls it for each trial, in the order of the jobs (hydra.sweeper.custom_search_space).
    """
    sweep = sweep_of(Path(config.hydra.sweep.dir))
    if number_in(trial, sweep) is None:  # else it is a trial that runs again
        number = max(latest_trials(trial.study, sweep), default=-1) + 1
        trial.set_user_attr(FOLDER, f"{sweep}/{number}")


def remaining_jobs(study: "Study", folder: Path, n_trials: int) -> list[int]:
    """Return the numbers of the jobs to run until `n_trials` are complete, in the order of Optuna's trials.

    Interrupted, failed and deleted jobs come first: they are queued in the study with the parameters that they had.
    """
    from optuna.trial import TrialState

    sweep = sweep_of(folder)
    latest = latest_trials(study, sweep)
    complete = 0
    for number, trial in sorted(latest.items()):
        if trial.state == TrialState.COMPLETE and (folder / str(number) / "run.json").exists():
            complete += 1
            continue
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
        if trial.state != TrialState.WAITING:
            study.enqueue_trial(trial.params, user_attrs={FOLDER: f"{sweep}/{number}"})
    new = count(max(latest, default=-1) + 1)
    queued = (number_in(trial, sweep) for trial in study.get_trials(states=(TrialState.WAITING,)))
    numbers = chain((next(new) if number is None else number for number in queued), new)
    return list(islice(numbers, max(n_trials - complete, 0)))


def latest_trials(study: "Study", sweep: str) -> dict[int, Any]:
    """Return the last trial of each job of the sweep."""
    numbered = ((number_in(trial, sweep), trial) for trial in study.get_trials(deepcopy=False))
    return {number: trial for number, trial in numbered if number is not None}


def number_in(trial: "BaseTrial", sweep: str) -> int | None:
    """Return the number of the trial's job, if it belongs to the sweep."""
    owner, _, number = trial.user_attrs.get(FOLDER, "").rpartition("/")
    return int(number) if owner == sweep else None


def sweep_of(folder: Path) -> str:
    return "/".join(folder.absolute().parts[-3:])


def open_study(storage: Any, name: str, direction: Literal["minimize", "maximize"]) -> "Study":
    """Return the study of that name, or a new one, and make the folder of a SQLite file, as SQLite does not."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with alone(storage):
            opened = cli.build(storage) if isinstance(storage, DictConfig) else storage
            study = optuna.create_study(study_name=name, storage=opened, direction=direction, load_if_exists=True)
    except (SQLAlchemyError, OSError, ImportError, optuna.exceptions.OptunaError) as error:
        raise UserError(f"hydra.sweeper.storage={_without_wait(storage)}: {describe_storage_error(error)}") from error
    if study.direction.name.lower() != direction:  # Optuna would keep the direction of the study
        raise UserError(
            f"hydra.sweeper.study_name={name}: that study is to {study.direction.name.lower()}: name another"
        )
    return study


def describe_storage_error(error: BaseException) -> str:
    """Return what is wrong with a storage, and the remedy; Optuna's own errors have SQLAlchemy's as their cause."""
    while error.__cause__ is not None and not isinstance(error, OSError):
        error = error.__cause__
    why = first_line(error)
    if "locked" in why:
        return f"{why} by another process for {LOCKED_FOR} s: end that process, or name another storage"
    return f"{why}; restore it, move it away, or name another"


def is_storage_error(error: BaseException) -> bool:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, StorageInternalError | SQLAlchemyError)


@contextmanager
def alone(storage: Any) -> Iterator[None]:
    """Make the folder of a SQLite file, and hold its lock: two first studies at a time would both make the tables."""
    if (path := _sqlite_path(storage)) is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def waiting(storage: Any) -> Any:
    """Return the URL of a SQLite file with the time for which it may be locked, another storage unchanged."""
    from sqlalchemy.engine import make_url

    if _sqlite_path(storage) is None or "timeout" in make_url(storage).query:
        return storage
    return make_url(storage).update_query_dict({"timeout": str(LOCKED_FOR)}).render_as_string(hide_password=False)


def _without_wait(storage: Any) -> Any:
    return str(storage).replace(f"?timeout={LOCKED_FOR}", "")


def _sqlite_path(storage: Any) -> Path | None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(storage)
    except ArgumentError:  # no URL but Optuna's own storage, or a mistake, which Optuna reports
        return None
    return Path(url.database) if url.drivername.startswith("sqlite") and url.database else None


def at_once(chosen: DictConfig) -> int:
    """Return how many jobs the chosen launcher runs at a time; a fixed number for a cluster, where it is unknown."""
    kind = job.launcher_kind(chosen)
    if kind in (job.BASIC, job.JOBLIB):
        return job.parallel_jobs(chosen)
    return workers.at_once(chosen.cpus_per_task or 1) if kind == job.LOCAL else ON_CLUSTER


def study_name(config: DictConfig) -> str:
    """Return a name that is the same for sweeps whose results can be compared and which vary the same settings.

    Bounds of an interval may change from sweep to sweep; Optuna would refuse other choices in the same study.
    """
    varied = plan.varied(config)
    fixed: Any = OmegaConf.to_container(config, resolve=False)
    for name in {*settings.names("comparable"), *varied}:
        *parents, key = name.split(".")
        node = fixed
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(key, None)
    text = json.dumps([fixed, varied], sort_keys=True)
    choices, digest = config.hydra.runtime.choices, hashlib.sha256(text.encode()).hexdigest()[:6]
    groups = ["several" if group in varied else choices[group] for group in ("data", "model")]
    return " ".join([config.experiment_name, *groups, config.hparams.monitor, digest])
