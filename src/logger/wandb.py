"""Weights & Biases: online where there is a key, else in the run folder for `wandb sync FOLDER/wandb/offline-run-*`."""

import atexit
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy import ndarray
from pytorch_lightning import LightningModule

from logger.run_logger import RunLogger
from logger.wandb_settings import QUIET, RUN, find_mode
from logger.wandb_watch import Watch

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read at import; reports of crashes go to their makers

MODES = (None, "online", "offline", "disabled")
X_AXES = ("step", "examples")
EXIT_CODES = {"finished": 0, "failed": 1, "interrupted": 130}


class WandB(RunLogger):
    """Curves, pictures, histograms, hyperparameters, final metrics and the run folder's files as artifacts.

    `mode`: online, offline or disabled; None is what WANDB_MODE says, else online with a key and offline without.
    `x_axis`: optimizer `step`s or the training `examples` seen so far. `watch`: gradients, parameters, all or None, as
    histograms every `watch_every` batches. `patience`: seconds for the last uploads. A resumed run has the same id.
    Raises a ValueError for an unknown option and where wandb is not installed.
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
        for name, value, options in (("mode", mode, MODES), ("x_axis", x_axis, X_AXES), ("watch", watch, Watch.WHAT)):
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
        self.known = 0  # steps before this one are on the server already

    @property
    def where(self) -> str:
        return os.environ.get("WANDB_BASE_URL", "")

    def open(self) -> None:
        import wandb

        wandb.setup(wandb.Settings(**QUIET))
        atexit.register(self._abandon)  # after wandb.setup has registered its own end, so before that
        record = self.read_record()
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
            settings=wandb.Settings(**RUN, finish_timeout=self.patience / 2),  # before the guard loses its own
        )
        self.known = 0 if self.ended else self.experiment.step
        said = {name: record[name] for name in ("command", "git", "host", "settings")}
        self.experiment.config.update({"run": said}, allow_val_change=True)
        if self.x_axis == "examples":
            self.experiment.define_metric("examples")
            self.experiment.define_metric("*", step_metric="examples")

    def log_graph(self, model: LightningModule, input_array: Any = None) -> None:  # type: ignore[override]
        """In the training's own thread, at the start: what is to be watched."""
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
        # immutable: not copied to ~/.local/share first
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
            self.experiment.finish(exit_code=EXIT_CODES.get(record["status"], 1))  # a killed run's is `running`
        except TimeoutError as error:
            folder = Path(self.experiment.dir).parent
            raise RuntimeError(f"no end of the uploads; `wandb sync {folder}` sends what is missing") from error
        atexit.unregister(self._abandon)

    def _log(self, values: dict[str, Any], step: int) -> None:
        """Into the row of the step; of a step behind the current one, whose row is closed, into the current row."""
        if step >= self.known:
            self.experiment.log(values, step=max(step, self.experiment.step))

    def _log_watched(self, until: int | None) -> None:
        for name, counts, edges, step in self.watch.take(until):
            self.log_histogram(name, counts, edges, step)

    def _abandon(self) -> None:
        """At the exit of Python: wandb would wait for its service, however long that waits for a server."""
        from wandb.sdk import wandb_setup

        with suppress(AttributeError):  # of another version: then wandb does wait
            connection: Any = wandb_setup.singleton()._connection
            if connection is not None:
                connection._cleanup()  # the service ends with this process
