"""Logger for Weights & Biases: online where there is a key, else in the run folder for `wandb sync` later."""

import atexit
import os
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from adapter import wandb as adapter
from adapter.lightning import logged_step
from logger.run_logger import RunLogger

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read at import: no crash reports to wandb's developers

MODES = (None, "online", "offline", "disabled")
X_AXES = ("step", "examples")
WATCHED = (None, "gradients", "parameters", "all")
BINS = 64  # of a histogram, as in wandb.watch
EXIT_CODES = {"finished": 0, "failed": 1, "interrupted": 130}
PATIENCE = 300.0  # seconds that wandb waits for its service and its server; the guard disables it where nothing happens
QUIET: dict[str, Any] = {"silent": True, "quiet": True, "console": "off", "x_service_wait": PATIENCE}
RUN: dict[str, Any] = {
    **QUIET,
    # run.json, source/ and system.csv have all this; and the URL of git's remote may contain a password
    "disable_git": True,
    "disable_code": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "init_timeout": PATIENCE,
    "finish_timeout_raises": True,
    "x_transaction_log_flush_interval": 2,  # seconds; `wandb sync` finds what was flushed before a kill
    "symlink": False,
}
Histogram = tuple[str, ndarray, ndarray, int]  # name, counts, edges, step


class WandB(RunLogger):
    """Logger of curves, images, histograms, hyperparameters, final metrics, and the run folder's files as artifacts.

    A resumed run keeps its id. Raises a ValueError for an unknown option and where wandb is not installed.

    Args:
        folder: the run folder.
        project: the project on the server.
        mode: online, offline or disabled. None: WANDB_MODE, else online if there is a key and offline if not.
        x_axis: optimizer `step`s, or the training `examples` seen so far.
        watch: gradients, parameters, all, or None; as histograms.
        watch_every: batches between two histograms.
        patience: seconds that the end of the run waits for the last uploads while they make progress.
    """

    def __init__(
        self,
        folder: str,
        project: str,
        mode: str | None,
        x_axis: str,
        watch: str | None,
        watch_every: int,
        patience: float,
    ) -> None:
        super().__init__(folder)
        for name, value, options in (("mode", mode, MODES), ("x_axis", x_axis, X_AXES), ("watch", watch, WATCHED)):
            if value not in options:
                words = ", ".join("null" if option is None else option for option in options)
                raise ValueError(f"loggers.wandb.{name}={value}: must be one of {words}")
        if watch_every < 1:
            raise ValueError(f"loggers.wandb.watch_every={watch_every}: must be a whole number >= 1")
        try:
            import wandb  # noqa: F401
        except ImportError as error:
            raise ValueError("wandb is not installed: uv pip install wandb, or leave it out of loggers=") from error
        self.project, self.mode, self.x_axis, self.patience = project, mode, x_axis, patience
        self.watch = Watch(watch, watch_every)
        self.known = 0  # the server already has the steps before this one

    @property
    def where(self) -> str:
        return os.environ.get("WANDB_BASE_URL", "")

    def open(self) -> None:
        import wandb

        wandb.setup(wandb.Settings(**QUIET))
        # At the exit of Python, wandb waits for its service, and that for a server. This function is registered after
        # wandb.setup has registered wandb's own, and so runs before it.
        atexit.register(adapter.cancel_exit_wait)
        record = self.read_record()
        with nullcontext() if self.ended else adapter.started_at(start_of(record)):
            self.experiment = wandb.init(
                dir=str(self.folder),
                mode=find_mode(self.mode),  # type: ignore[arg-type]
                project=self.project,
                id=record["id"],
                resume="allow",
                name=self.folder.name,
                group=record["sweep"] or record["experiment_name"],
                notes=record["comment"],
                tags=record["tags"],
                settings=wandb.Settings(**RUN, finish_timeout=self.patience),
            )
        self.remedy = f"`wandb sync {Path(self.experiment.dir).parent}` sends the rest"
        self.known = 0 if self.ended else self.experiment.step
        facts = {name: record[name] for name in ("command", "git", "host", "settings")}
        self.experiment.config.update({"run": facts}, allow_val_change=True)
        if self.x_axis == "examples":
            self.experiment.define_metric("examples")
            self.experiment.define_metric("*", step_metric="examples")

    def log_graph(self, model: LightningModule, input_array: Any = None) -> None:  # type: ignore[override]
        self.watch.begin(model)

    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        self.experiment.config.update(params, allow_val_change=True)

    def log_metrics(self, metrics: dict[str, float], step: int, seconds: float) -> None:  # type: ignore[override]
        self._log_watched(step)
        self._log({"_timestamp": seconds, **metrics}, step)

    def log_image(self, name: str, image_HWC: ndarray, step: int) -> None:
        import wandb

        self._log({name: wandb.Image(image_HWC)}, step)

    def log_histogram(self, name: str, counts: ndarray, edges: ndarray, step: int) -> None:
        import wandb

        self._log({name: wandb.Histogram(np_histogram=(counts.tolist(), edges.tolist()))}, step)

    def log_artifact(self, path: Path) -> None:
        import wandb

        name = path.relative_to(self.folder)
        kind = {"checkpoints": "checkpoint", "source": "source"}.get(name.parts[0], "file")
        artifact = wandb.Artifact(f"{'-'.join(name.parts)}-{self.experiment.id}", type=kind)
        # immutable: wandb does not copy it to ~/.local/share first
        if path.is_dir():
            artifact.add_dir(str(path), skip_cache=True, policy="immutable")
        else:
            artifact.add_file(str(path), skip_cache=True, policy="immutable")
        self.experiment.log_artifact(artifact)

    def end(self, record: dict[str, Any]) -> None:
        self._log_watched(None)
        self.experiment.summary.update({"status": record["status"], **record["metrics"]})

    def close(self, record: dict[str, Any]) -> None:
        try:
            self.experiment.finish(exit_code=EXIT_CODES.get(record["status"], 1))  # `running`: the process was killed
        except TimeoutError as error:
            raise RuntimeError(f"the uploads did not finish; {self.remedy}") from error
        atexit.unregister(adapter.cancel_exit_wait)

    def _log(self, values: dict[str, Any], step: int) -> None:
        """Add values to the row of their step; where a later step has closed that row, to the current row."""
        if step >= self.known:
            self.experiment.log(values, step=max(step, self.experiment.step))

    def _log_watched(self, until: int | None) -> None:
        for name, counts, edges, step in self.watch.take(until):
            self.log_histogram(name, counts, edges, step)


def start_of(record: dict[str, Any]) -> float:
    """Return when the run's present process started, in seconds since 1970; wandb adds the time of earlier ones."""
    resumed = record.get("resumed") or [record]
    return datetime.fromisoformat(resumed[-1]["started"]).timestamp()


def find_mode(mode: str | None) -> str:
    """Return `mode`, else WANDB_MODE, else online if there is a key and offline if not; wandb itself would prompt.

    Raises a RuntimeError if the mode is online and there is no key.
    """
    import wandb

    mode = mode or os.environ.get("WANDB_MODE")
    if mode in ("offline", "disabled"):
        return mode
    host = wandb.setup().settings.base_url
    if adapter.has_key(host):
        return mode or "online"
    if mode is not None:
        raise RuntimeError(f"no key for {host}: `wandb login`, WANDB_API_KEY, or loggers.wandb.mode=offline")
    return "offline"


class Watch:
    """Histograms of the gradients and parameters of any LightningModule, under the names that wandb.watch gives them.

    The hooks of `wandb.watch` wait for wandb's service in the training's own thread; the hooks of this class leave
    their histograms to the logger's thread. If a hook fails, all are removed and `take` raises its error. Frozen
    parameters, and lazy ones, which have no shape yet, are not watched.

    Args:
        what: gradients, parameters, all, or None: nothing.
        every: backward passes between two histograms of a parameter.
    """

    def __init__(self, what: str | None, every: int) -> None:
        self.what, self.every = what, every
        self.histograms: deque[Histogram] = deque()
        self.handles: list[Any] = []
        self.error: Exception | None = None

    def begin(self, model: LightningModule) -> None:
        """Register the hooks, on the network of a classifier, else on the whole module."""
        if self.what is None or self.handles:  # Lightning calls it again before the test
            return
        network = getattr(model, "network", model)
        assert isinstance(network, nn.Module)
        for name, parameter in network.named_parameters():
            if parameter.requires_grad and not is_lazy(parameter):
                self.handles.append(parameter.register_hook(self._hook(model, name, parameter)))

    def _hook(self, model: LightningModule, name: str, parameter: Tensor) -> Any:
        calls = 0

        def keep(gradient: Tensor) -> None:
            nonlocal calls
            calls += 1
            if calls % self.every or self.error is not None:
                return
            try:
                step = logged_step(model.trainer)
                for kind, tensor in {"gradients": gradient, "parameters": parameter}.items():
                    if self.what in (kind, "all"):
                        self.histograms.append((f"{kind}/{name}", *histogram(tensor), step))
            except Exception as error:
                self.error = error
                for handle in self.handles:
                    handle.remove()

        return keep

    def take(self, until: int | None) -> Iterator[Histogram]:
        """Yield the histograms up to a step, or all of them, and forget them."""
        if self.error is not None:
            raise self.error
        while self.histograms and (until is None or self.histograms[0][-1] <= until):
            yield self.histograms.popleft()


def histogram(tensor: Tensor) -> tuple[ndarray, ndarray]:
    """Return counts and edges of the finite values."""
    values = tensor.detach().to("cpu", torch.float64).numpy()  # in float32, neighbouring edges may be equal
    return np.histogram(values[np.isfinite(values)], BINS)
