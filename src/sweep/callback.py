"""What Hydra tells of a sweep: config.yaml has it among hydra.callbacks."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from command import cli, job, launcher
from process import interruption, ranks
from process.console import quiet_shared_terminal
from process.errors import PastHydraError, UserError, first_line
from run import sweep_record
from run.folder import REPOSITORY, copy_source, locked
from sweep import device, plan, stop, study
from sweep.progress import Progress, shown
from sweep.summary import print_table

log = logging.getLogger(__name__)


class Sweep(cli.HydraCallback):
    """The sweep's own process copies the code, starts anew out of the copy, and follows the jobs by their run.json.

    Jobs run there too (hydra/launcher=basic), or in workers, which get a pickled copy of this: without `progress`.
    """

    progress: Progress | None = None

    def __reduce__(self) -> Any:
        return in_worker, ()

    def on_multirun_start(self, config: DictConfig, config_name: str = "config", **_: Any) -> None:
        with past_hydra():
            sweep: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
            if sweep["dir"] == str(REPOSITORY.parent):
                self._begin(config)
                return
            ranks.refuse_unsupported_launch(["-m"])  # also where a YAML of hparams_search makes it a sweep
            plan.refuse_impossible(config, config_name)
            folder = Path(config.hydra.sweep.dir).absolute()  # made by its resolver
            if (folder / sweep_record.NAME).exists():
                raise UserError(f"{folder} holds a sweep already: resume_sweep={folder} runs what is left of it")
            folder.mkdir(parents=True, exist_ok=True)
            copy_source(folder / "source")
            sweep_record.write_start(folder, sys.argv[1:])
            cli.run_sweep(folder, sys.argv[1:])

    def _begin(self, config: DictConfig) -> None:
        self.folder, self.until_end = REPOSITORY.parent, ExitStack()
        self.until_end.enter_context(locked(self.folder))
        self.progress = Progress(self.folder, plan.varied(config), config)
        study.prepare(config, self.folder)
        stop.allow(self.folder)
        if not launcher.is_serial(config.hydra.launcher):
            device.offer(config)
            self.until_end.enter_context(self.progress.watching())
            self.until_end.enter_context(interruption.on_first_signal(self._stop_workers))
        interruption.remedy_sources.append(self.remedy)
        cli.at_failure.append(self._failed)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        if job.in_sweep(config.hydra) and self.progress is None:  # in a worker
            os.chdir(config.hydra.runtime.cwd)  # Ray's workers begin elsewhere
            quiet_shared_terminal()
            stop.heed(Path(config.hydra.sweep.dir))
            device.take(config.hydra.launcher, Path(config.hydra.sweep.dir))

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        if self.progress is not None:
            self.progress.look()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        with past_hydra():
            assert self.progress is not None
            self.until_end.close()
            self.progress.look()
            if config.verbosity > 0:
                print_table(self.progress)
            if self.progress.left:
                raise UserError(self._unfinished())

    def _failed(self, error: Exception) -> str:
        """An engine gave up: a worker was killed, a cluster refused."""
        assert self.progress is not None
        self.until_end.close()
        self.progress.look()
        print_table(self.progress)
        if any(run.facts["status"] != "finished" for run in self.progress.runs.values()):
            return self._unfinished()  # said in better words than those of an engine that misses a result
        return "; ".join([first_line(error), self.remedy()])

    def _unfinished(self) -> str:
        assert self.progress is not None
        return f"{self.progress.left} of {self.progress.total} jobs did not finish; {self.remedy()}"

    def remedy(self) -> str:
        """How to go on, if anything is left."""
        left = self.progress is not None and self.progress.left
        return f"what is left: python src/train.py resume_sweep={shown(self.folder)}" if left else ""

    def _stop_workers(self, signum: int) -> None:
        assert self.progress is not None
        log.info("waits for the jobs that run to save; a second time: ends at once")
        stop.ask(self.folder)
        self.progress.wait()


def in_worker() -> Sweep:
    """What unpickling calls, before the worker composes the config of a job."""
    cli.register_resolvers()
    return Sweep()


@contextmanager
def past_hydra() -> Iterator[None]:
    """Hydra turns what a callback raises into a warning."""
    try:
        yield
    except Exception as error:
        raise PastHydraError(error) from error
