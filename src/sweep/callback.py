"""Hydra callback that runs sweeps: Hydra calls it at the start and end of a sweep and of each job."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from adapter import hydra_launchers
from command import cli, job
from process import interruption, ranks
from process.console import quiet_shared_terminal
from process.errors import PastHydraError, UserError, first_line
from process.files import path_from_setting
from run import signature, sweep_record
from run.folder import REPOSITORY, copy_source, locked, shown
from sweep import plan, study, workers
from sweep.pool import Pool
from sweep.progress import Progress, print_table

FOLDER = "name a folder, or leave this setting out"
log = logging.getLogger(__name__)


class Sweep(Callback):
    """Hydra callback that copies the code, restarts the sweep's own process from the copy, and follows the jobs.

    Jobs run in that process (hydra/launcher=basic) or in workers, which get a pickled copy of this without `progress`.
    """

    progress: Progress | None = None

    def __reduce__(self) -> Any:
        return in_worker, ()

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse settings that cannot be run, and a folder that holds a run or a sweep, before Hydra writes there."""
        with passing_hydra():
            if config.get("resume") is not None or "run" in config or not ranks.is_rank_zero():
                return
            cli.check_all(config)  # also where hydra.run.dir= replaces the setting that does so
            folder = path_from_setting("hydra.run.dir", str(config.hydra.run.dir), FOLDER).absolute()
            if "${" in str(folder):  # Hydra would make it, and resolve it later
                raise UserError(f"hydra.run.dir={config.hydra.run.dir}: no folder is named so: {FOLDER}")
            if (folder / sweep_record.NAME).exists():
                raise UserError(f"hydra.run.dir={shown(folder)} holds a sweep: name another folder, or leave this out")
            if (folder / "run.json").exists():
                raise UserError(
                    f"hydra.run.dir={shown(folder)} holds a run: resume={shown(folder)} continues it; for a new run "
                    "name another folder, or leave this out"
                )

    def on_multirun_start(self, config: DictConfig, config_name: str = "config", **_: Any) -> None:
        with passing_hydra():
            sweep: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
            if sweep["dir"] == str(REPOSITORY.parent):
                self._begin(config)
                return
            ranks.refuse_unsupported_launch(["-m"])  # also if a YAML of hparams_search makes it a sweep
            plan.refuse_impossible(config, config_name)
            made = str(config.hydra.sweep.dir)  # by its resolver
            folder = path_from_setting("hydra.sweep.dir", made, FOLDER).absolute()
            if (folder / sweep_record.NAME).exists():
                raise UserError(f"{folder} holds a sweep already: resume_sweep={folder} runs what is left of it")
            if (folder / "run.json").exists():
                raise UserError(f"hydra.sweep.dir={shown(folder)} holds a run: name another folder, or leave this out")
            folder.mkdir(parents=True, exist_ok=True)
            copy_source(folder / "source")
            sweep_record.write_start(folder, sys.argv[1:])
            signature.sign(folder)
            cli.run_sweep(folder, sys.argv[1:])

    def _begin(self, config: DictConfig) -> None:
        self.folder, self.until_end = REPOSITORY.parent, ExitStack()
        self.until_end.enter_context(locked(self.folder))
        self.progress = Progress(self.folder, plan.varied(config), config)
        study.prepare(config, self.folder)
        workers.allow(self.folder)
        if not job.is_serial(config.hydra.launcher):
            workers.offer(config)
            self._survive_losses(config)
            self.until_end.enter_context(self.progress.watching())
            self.until_end.enter_context(interruption.on_first_signal(self._stop_workers))
        interruption.remedy_sources.append(self.remedy)
        cli.describe_failure.append(self._failed)

    def _survive_losses(self, config: DictConfig) -> None:
        """Have the sweep go on without a job whose process was killed, as without one that failed."""
        kind = job.launcher_kind(config.hydra.launcher)
        if kind == job.JOBLIB:
            pool = Pool(self._lost)
            self.until_end.callback(pool.close)
            hydra_launchers.run_joblib_with(pool.run)
        elif kind in (job.LOCAL, job.SLURM):
            hydra_launchers.wait_for_submitit_with(workers.result_or_none)
        elif kind == job.RAY:
            hydra_launchers.wait_for_ray_with(workers.result_or_none)

    def _lost(self, call: hydra_launchers.Call, how: str) -> JobReturn:
        folder = Path(*hydra_launchers.folder_settings(call))
        workers.record_loss(folder, f"its process {how}")
        return workers.NO_RESULT

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        if job.in_sweep(config.hydra) and self.progress is None:  # in a worker
            os.chdir(config.hydra.runtime.cwd)  # Ray's workers begin elsewhere
            quiet_shared_terminal()
            workers.end_when_asked(Path(config.hydra.sweep.dir))
            workers.take(config.hydra.launcher, Path(config.hydra.sweep.dir))

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        if self.progress is not None:
            self.progress.report_ended()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        with passing_hydra():
            assert self.progress is not None
            self.until_end.close()
            self.progress.report_ended()
            if config.verbosity > 0:
                print_table(self.progress)
            if self.progress.left:
                raise UserError(self._unfinished())

    def _failed(self, error: Exception) -> str:
        """Describe an error of the launcher, such as a killed worker or a cluster that refuses jobs."""
        assert self.progress is not None
        self.until_end.close()
        self.progress.report_ended()
        print_table(self.progress)
        if study.is_storage_error(error):
            return f"hydra.sweeper.storage: {study.describe_storage_error(error)}; {self._unfinished()}"
        if any(run.facts["status"] != "finished" for run in self.progress.runs.values()):
            return self._unfinished()  # clearer than the words of a launcher that misses a result
        return "; ".join([first_line(error), self.remedy()])

    def _unfinished(self) -> str:
        assert self.progress is not None
        return f"{self.progress.left} of {self.progress.total} jobs did not finish; {self.remedy()}"

    def remedy(self) -> str:
        """Return the command that runs the remaining jobs, if there are any."""
        left = self.progress is not None and self.progress.left
        return f"remaining jobs: python src/train.py resume_sweep={shown(self.folder)}" if left else ""

    def _stop_workers(self, signum: int) -> None:
        assert self.progress is not None
        log.info("waits for the running jobs to save; a second signal ends them at once")
        workers.stop(self.folder)
        self.progress.wait()


def in_worker() -> Sweep:
    """Return the callback of a worker. Unpickling calls it before the worker composes the config of a job."""
    cli.register_resolvers()
    return Sweep()


@contextmanager
def passing_hydra() -> Iterator[None]:
    """Let errors pass Hydra, which turns what a callback raises into a warning."""
    try:
        yield
    except Exception as error:
        raise PastHydraError(error) from error
