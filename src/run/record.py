"""The record of one run: run.json, config.yaml and source/ in its folder, from the first moment to the last."""

import logging
import math
import os
import platform
import shlex
import socket
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from omegaconf import DictConfig, OmegaConf

from run.atomic import replacing, write_json
from run.errors import find_user_error
from run.settings import check
from run.source import copy_source, git_state

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf")


class Run:
    """A context in which a job runs: `finished`, `failed` or `interrupted` stands in run.json when it is left.

    `facts` is what run.json holds; every update replaces the file as a whole. Ranks other than 0 write nothing.
    """

    def __init__(self, folder: Path, config: DictConfig, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.config = config
        self.facts: dict[str, Any] = {
            "status": "running",
            "started": _now(),
            "ended": None,
            "seconds": None,
            "command": shlex.join(sys.orig_argv),
            "experiment_name": config.experiment_name,
            "comment": config.comment,
            "settings": settings,
            "seed": config.hparams.seed,
            "git": git_state(),
            "host": socket.gethostname(),
            "python": platform.python_version(),
            "versions": {package: version(package) for package in PACKAGES},
            "metrics": {},
        }

    def __enter__(self) -> Self:
        self.update()
        try:
            check(self.config)
            resolved = OmegaConf.to_yaml(self.config, resolve=True)
            if is_rank_zero():
                copy_source(self.folder / "source")
                with replacing(self.folder / "config.yaml") as file:
                    file.write(resolved)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def update(self, **facts: Any) -> None:
        self.facts.update(facts)
        if is_rank_zero():
            write_json(self.folder / "run.json", _finite(self.facts))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        seconds = (datetime.now().astimezone() - datetime.fromisoformat(self.facts["started"])).total_seconds()
        ended = {"ended": _now(), "seconds": round(seconds, 3)}
        if error is None:
            self.update(status="finished", **ended)
        elif not isinstance(error, Exception):  # KeyboardInterrupt, or the exit into which Lightning turns it
            self.update(status="interrupted", **ended)
        else:
            mistake = find_user_error(error)
            text = f"{type(mistake or error).__name__}: {mistake or error}"
            # to train.log alone (config/hydra/job_logging): on the terminal the outermost layer says it, once
            logging.getLogger("failure").error(text, exc_info=None if mistake else error)
            self.update(status="failed", error=text, **ended)


def is_rank_zero() -> bool:
    """Whether this process is the one that writes: by the variables of torchrun, Lightning's launcher and SLURM."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def _finite(value: Any) -> Any:
    """NaN and infinity are no JSON: they become text."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
