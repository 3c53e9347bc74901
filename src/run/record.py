"""The record of one run, kept in its folder from start to end: run.json, config.yaml and source/."""

import logging
import platform
import re
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import yaml
from omegaconf import DictConfig, OmegaConf

import settings
from adapter import pytorch
from process import interruption
from process.console import print_start
from process.errors import UserError, find_user_error, is_lost_worker
from process.files import remove_temporary_files, replacing, write_json
from process.ranks import end_together, is_rank_zero
from process.secrets import scrub
from run import signature, sweep_record
from run.folder import RecordError, copy_source, describe_start, locked, now, read_run_json, shown, source_differences
from run.resume import Change, changes, describe_changes, refuse_fixed
from settings import leaves

log = logging.getLogger(__name__)

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf")
# hparams that code reads by name, so that no YAML has to refer to them
READ_BY_CODE = {"seed", "batch_size", "max_epochs", "optimizer", "lr", "monitor", "monitor_mode", "patience"}
HPARAM = re.compile(r"\$\{[^}]*?\bhparams\b(?:\.(\w+))?")  # ${hparams.x}, also as an argument of a resolver


class Run:
    """A context in which a job runs; at its end run.json says `finished`, `failed` or `interrupted`.

    `facts` is the content of run.json, which each update replaces atomically. Only rank 0 writes. In the folder of a
    resumed run nothing is written until `begin_record` is called; `changes` are the settings that differ.

    Args:
        folder: the run folder, which exists already.
        config: the composed config.
        overrides: the overrides of the command line, as typed.
        chosen: `settings`, the overrides as values, and `composed`, all chosen options and used hparams, by name.
        relaunch: command and working directory with which Lightning starts further ranks of this job.
        check: raises a UserError for a config that cannot be run.
        in_sweep: whether the job belongs to a sweep.
    """

    def __init__(
        self,
        folder: Path,
        config: DictConfig,
        overrides: list[str],
        chosen: dict[str, Any],
        relaunch: tuple[list[str], str],
        check: Callable[[DictConfig], None],
        in_sweep: bool = False,
    ) -> None:
        self.relaunch, self.check = relaunch, check
        self.folder, self.config, self.chosen, self.in_sweep = folder, config, chosen, in_sweep
        self.overrides = [override for override in overrides if not override.startswith("resume=")]
        self.began = time.monotonic()  # a clock that is set affects `started` and `ended`, not `seconds`
        self.changes: list[Change] = []
        # the changes since the last checkpoint: more than `changes` if a resumed run was killed before its next one
        self.changes_since_checkpoint: list[Change] = []
        self.recording = False
        self.facts: dict[str, Any] = {}
        self.at_end: list[Callable[[dict[str, Any]], None]] = []  # called with `facts` once the status is known

    @property
    def resumed(self) -> bool:
        return self.config.resume is not None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if is_rank_zero():
                stack.enter_context(locked(self.folder))
            stack.push(self._end)
            stack.enter_context(interruption.on_abort(self._abort))
            if self.resumed:
                self.facts = read_run_json(self.folder)
                self.check(self.config)
                self._compose()
                self.changes, resolved = (
                    changes(self.folder, yaml.safe_load(self.composed[file]), file)
                    for file in (".hydra/config.yaml", "config.yaml")
                )
                typed = {change.name for change in self.changes}
                refuse_fixed(sorted(resolved, key=lambda change: change.name not in typed), self.folder)
            else:
                self.begin_record()
                self.check(self.config)
                self._compose()
                self._write_composed()
                if is_rank_zero():
                    copy_source(self.folder / "source")
                    signature.sign(self.folder)
            stack.enter_context(end_together(self.folder, self.relaunch, self._record_failure))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        try:
            if error is not None and is_lost_worker(error):
                interruption.check()  # a signal to the process group has ended the workers before the job saw it
        except interruption.Interrupted as interrupted:
            self.stack.__exit__(type(interrupted), interrupted, traceback)
            raise
        self.stack.__exit__(kind, error, traceback)

    def begin_record(self) -> None:
        """Write the first record of a new run; in that of a resumed run, note the resumption and its settings."""
        from process.gpus import usable_gpus  # NVML's module, which --help need not wait for

        self.recording = True
        self.seconds_before = self.facts.get("seconds") or 0.0
        start = {**describe_start(), "versions": versions(), "gpus": [gpu.name for gpu in usable_gpus()]}
        if self.in_sweep:  # the jobs run the sweep's copy of the code
            start |= sweep_record.latest_start(self.folder.parent)
        if self.resumed:
            if is_rank_zero():
                remove_temporary_files(self.folder)
            start["changes"] = {change.name: [change.old, change.new] for change in self.changes}
            start["other_code"] = source_differences(self.folder / "source", "src")
            self.facts.pop("error", None)
            self.facts["resumed"] = [*self.facts.get("resumed", []), start]
            if self.changes:
                own = signature.is_own(self.folder)
                self._write_composed()
                if own and is_rank_zero():  # what somebody else has made stays theirs
                    signature.sign(self.folder)
        else:
            sweep = "/".join(self.folder.parts[-4:-1]) if self.in_sweep else None  # experiment, date, time
            self.facts = {
                "id": uuid4().hex,
                "sweep": sweep,
                **start,
                "python": platform.python_version(),
                "metrics": {},
            }
        self.update(
            status="running",
            ended=None,
            seconds=None,
            experiment_name=self.config.experiment_name,
            comment=self.config.comment,
            tags=[str(word) for word in self.config.tags],
            **{kind: {k: v for k, v in chosen.items() if k != "resume"} for kind, chosen in self.chosen.items()},
            seed=self.config.hparams.seed,
            debug=self.config.debug,
        )

    def announce(self, checkpoint: Path | None) -> None:
        """Say which run starts, or which is resumed from the checkpoint (None: from its start) and what has changed."""
        if not self.resumed:
            print_start(self.folder, self.describe_choice(), self.config)
            return
        self.begin_record()
        log.info(f"resumes {self.folder}" + ("" if checkpoint else " from its start: it has no checkpoint yet"))
        for change in describe_changes(self.changes):
            log.info(f"  {change}")
        for file in self.facts["resumed"][-1]["other_code"]:
            log.info(f"  {file} has changed since the run started")

    def has_changed(self, column: str) -> bool:
        """Return whether a setting with this property in the table of settings has changed since the checkpoint."""
        return any(getattr(settings.find(change.name), column) for change in self.changes_since_checkpoint)

    def describe_choice(self) -> list[str]:
        """Return the data, the model, and every other override of the command."""
        chosen = {name: f"{name}={self.chosen['composed'][name]}" for name in ("data", "model")}
        others = [override for override in self.overrides if override.partition("=")[0] not in chosen]
        return [*chosen.values(), *others]

    @property
    def settings(self) -> str:
        """The whole config as YAML, with unresolved interpolations."""
        return self.composed[".hydra/config.yaml"]

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The chosen option of each group and the used hparams, by short names, for loggers."""
        short = {name.removeprefix("hparams."): value for name, value in self.chosen["composed"].items()}
        return {**short, "comment": self.config.comment}

    def update(self, **facts: Any) -> None:
        """Set these entries of run.json."""
        self.facts.update(facts)
        if is_rank_zero():
            write_json(self.folder / "run.json", self.facts)

    def _end(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if not self.recording:
            return
        seconds = self.seconds_before + time.monotonic() - self.began
        ended = {"ended": now(), "seconds": round(seconds, 3)}
        if error is None:
            self.update(status="finished", **ended)
        elif not isinstance(error, Exception):  # Interrupted, KeyboardInterrupt
            self.update(status="interrupted", **ended)
        else:
            # to train.log only (config/hydra/job_logging); the outermost layer prints it on the terminal
            line, bug = describe_error(error), None if find_user_error(error) else error
            logging.getLogger("failure").error(line, exc_info=bug)
            with suppress(UserError):  # a full disk must not hide the first error
                self.update(status="failed", error=line, **ended)
        with ExitStack() as stack:  # calls each, whatever another one raises
            for action in reversed(self.at_end):
                stack.callback(action, self.facts)

    def remedy(self) -> str:
        """Return the command that continues the run, if it was interrupted, or failed after its first checkpoint."""
        status, last = self.facts.get("status"), self.folder / "checkpoints" / "last.ckpt"
        if self.config.debug or not (status == "interrupted" or (status == "failed" and last.is_file())):
            return ""
        return f"to continue: python src/train.py resume={shown(self.folder)}"

    def _record_failure(self, text: str) -> None:
        self.update(status="failed", error=text, ended=now())

    def _abort(self) -> None:
        if self.recording:
            self.update(status="interrupted", ended=now())

    def _compose(self) -> None:
        """Keep the texts of config.yaml and .hydra/, which run= and resume= read: building changes the config."""
        self.composed = {
            ".hydra/overrides.yaml": OmegaConf.to_yaml(self.overrides),  # written first: it decides what is composed
            ".hydra/config.yaml": OmegaConf.to_yaml(self.config),
            "config.yaml": OmegaConf.to_yaml(self.config, resolve=True),
        }

    def _write_composed(self) -> None:
        if is_rank_zero():
            (self.folder / ".hydra").mkdir(exist_ok=True)
            for name, text in self.composed.items():
                with replacing(self.folder / name) as file:
                    file.write(text)


def versions() -> dict[str, str | None]:
    """Return the versions of packages, that of torch with its build (2.15.0+cu132), of its CUDA and of the driver."""
    from process.gpus import driver_version

    torch, cuda = pytorch.build()
    return {**{name: version(name) for name in PACKAGES}, "torch": torch, "CUDA": cuda, "driver": driver_version()}


def used_hparams(config: DictConfig) -> dict[str, Any]:
    """Return the hparams that the chosen parts use: those that the rest of the config or a used hparam refers to."""
    texts: Any = OmegaConf.to_container(config, resolve=False)
    hparams, used = texts.pop("hparams"), set(READ_BY_CODE)
    waiting = [*texts.values(), *(hparams.get(name) for name in used)]
    while waiting:
        for _, text in leaves(waiting.pop(), into_lists=True):
            for name in HPARAM.findall(text) if isinstance(text, str) else ():
                found = {name} if name else set(hparams)  # ${hparams}: all
                waiting += [hparams.get(each) for each in found - used]
                used |= found
    resolved: Any = OmegaConf.to_container(config.hparams, resolve=True)
    return {name: value for name, value in resolved.items() if name in used}


def describe_error(error: BaseException) -> str:
    """Return the one line that run.json holds as the `error` of a failed run."""
    error = find_user_error(error) or error
    return scrub(f"{type(error).__name__}: {error}")


def is_recorded(folder: Path, error: BaseException) -> bool:
    """Return whether the folder's run.json holds this error; a job that never began a record could not write it."""
    try:
        return read_run_json(folder).get("error") == describe_error(error)
    except RecordError:
        return False
