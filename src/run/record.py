"""The record of one run: run.json, config.yaml and source/ in its folder, from the first moment to the last."""

import logging
import math
import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import yaml
from omegaconf import DictConfig, OmegaConf

from process import interruption
from process.errors import UserError, find_user_error
from process.files import remove_temporary_files, replacing, write_json
from process.ranks import end_together, is_rank_zero
from process.secrets import scrub
from run import sweep_record
from run.resume import Change, changes, locked, read_record, refuse_fixed
from run.source import copy_source, git_state, source_differences

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf")


class Run:
    """A context in which a job runs: `finished`, `failed` or `interrupted` stands in run.json when it is left.

    `facts` is what run.json holds; every update replaces the file as a whole. Ranks other than 0 write nothing. Of a
    run that is resumed nothing is touched until `proceed` says that it can be; `changes` are the settings that differ.
    """

    def __init__(
        self,
        folder: Path,
        config: DictConfig,
        overrides: list[str],
        chosen: dict[str, Any],
        alone: tuple[list[str], str],
        check: Callable[[DictConfig], None],
        in_sweep: bool = False,
    ) -> None:
        self.alone, self.check = alone, check
        self.folder, self.config, self.chosen, self.in_sweep = folder, config, chosen, in_sweep
        self.overrides = [override for override in overrides if not override.startswith("resume=")]
        self.began = time.monotonic()  # a clock that jumps changes `started` and `ended`, not `seconds`
        self.changes: list[Change] = []
        # since the checkpoint was written, which may be earlier: a kill may have come before the next one
        self.changes_since_checkpoint: list[Change] = []
        self.proceeding = False
        self.facts: dict[str, Any] = {}
        self.at_end: list[Callable[[dict[str, Any]], None]] = []  # told `facts` when the status is known

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
                self.facts = read_record(self.folder)
                self.check(self.config)
                self._compose()
                self.changes = changes(self.folder, yaml.safe_load(self.composed[".hydra/config.yaml"]))
                refuse_fixed(self.changes, self.folder)
            else:
                self.proceed()
                self.check(self.config)
                self._compose()
                self._write_composed()
                if is_rank_zero():
                    copy_source(self.folder / "source")
            stack.enter_context(end_together(self.folder, self.alone, self._record_failure))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.__exit__(*error)

    def proceed(self) -> None:
        """Begin to write: a new run its first record, a resumed one that it goes on, and with what settings."""
        self.proceeding = True
        self.seconds_before = self.facts.get("seconds") or 0.0
        start: dict[str, Any] = {
            "started": _now(),
            "command": scrub(shlex.join(sys.orig_argv)),
            "git": git_state(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "versions": {package: version(package) for package in PACKAGES},
        }
        if self.in_sweep:  # what runs is its copy of the code
            start |= sweep_record.latest_start(self.folder.parent)
        if self.resumed:
            if is_rank_zero():
                remove_temporary_files(self.folder)
            start["changes"] = {change.name: [change.old, change.new] for change in self.changes}
            start["other_code"] = source_differences(self.folder / "source", "src")
            self.facts.pop("error", None)
            self.facts["resumed"] = [*self.facts.get("resumed", []), start]
            if self.changes:
                self._write_composed()
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
        )

    def chosen_in_words(self) -> list[str]:
        """The data, the model, and every other override of the command."""
        chosen = {name: f"{name}={self.chosen['composed'][name]}" for name in ("data", "model")}
        others = [override for override in self.overrides if override.partition("=")[0] not in chosen]
        return [*chosen.values(), *others]

    @property
    def settings(self) -> str:
        """As YAML, interpolations as they are written."""
        return self.composed[".hydra/config.yaml"]

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What was chosen in each group, and hparams: for loggers, by short names."""
        short = {name.removeprefix("hparams."): value for name, value in self.chosen["composed"].items()}
        return {**short, "comment": self.config.comment}

    def update(self, **facts: Any) -> None:
        self.facts.update(facts)
        if is_rank_zero():
            write_json(self.folder / "run.json", _finite(self.facts))

    def _end(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if not self.proceeding:
            return
        seconds = self.seconds_before + time.monotonic() - self.began
        ended = {"ended": _now(), "seconds": round(seconds, 3)}
        if error is None:
            self.update(status="finished", **ended)
        elif not isinstance(error, Exception):  # Interrupted, KeyboardInterrupt
            self.update(status="interrupted", **ended)
        else:
            # to train.log alone (config/hydra/job_logging): on the terminal the outermost layer says it, once
            logging.getLogger("failure").error(in_a_line(error), exc_info=None if find_user_error(error) else error)
            with suppress(UserError):  # the first reason is the one to say, also where nothing can be written now
                self.update(status="failed", error=in_a_line(error), **ended)
        with ExitStack() as stack:  # each is told, whatever another raises
            for tell in reversed(self.at_end):
                stack.callback(tell, self.facts)

    def _record_failure(self, text: str) -> None:
        self.update(status="failed", error=text, ended=_now())

    def _abort(self) -> None:
        if self.proceeding:
            self.update(status="interrupted", ended=_now())

    def _compose(self) -> None:
        """The texts of config.yaml and of what `resume=` or `run=` compose from, before building changes the config."""
        self.composed = {
            ".hydra/overrides.yaml": OmegaConf.to_yaml(self.overrides),  # first: it alone decides what is composed
            ".hydra/config.yaml": OmegaConf.to_yaml(self.config),
            "config.yaml": OmegaConf.to_yaml(self.config, resolve=True),
        }

    def _write_composed(self) -> None:
        if is_rank_zero():
            (self.folder / ".hydra").mkdir(exist_ok=True)
            for name, text in self.composed.items():
                with replacing(self.folder / name) as file:
                    file.write(text)


def plain(config: DictConfig) -> dict[str, Any]:
    """The settings of a node as plain values."""
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return {str(name): value for name, value in content.items()}


def in_a_line(error: BaseException) -> str:
    """What run.json holds as the `error` of a run that failed."""
    mistake = find_user_error(error) or error
    return scrub(f"{type(mistake).__name__}: {mistake}")


def is_recorded(folder: Path, error: BaseException) -> bool:
    """Whether the run in the folder failed for this reason, by its own word: one that never began cannot say so."""
    try:
        return read_record(folder).get("error") == in_a_line(error)
    except UserError:
        return False


def _finite(value: Any) -> Any:
    """NaN and infinity are no JSON: they become text."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
