"""MLflow: in mlruns/mlflow.db, or on the tracking server that MLFLOW_TRACKING_URI names."""

import os
from pathlib import Path
from shutil import make_archive
from tempfile import TemporaryDirectory
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from numpy import ndarray
from PIL import Image

from logger.mlflow_store import Store
from logger.mlflow_sweep import PARENT, end_of_job, sweep_run
from logger.run_logger import RunLogger
from run.folder import slug

STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
BATCH = 1000  # metrics that the server takes at once
RUN_ID = "patch_sets.run_id"
NOT_THERE = "it does not know this run; was the run started in another directory?"
# seconds and tries; by MLflow's own 120 and 8 it would take minutes to learn that a server is gone
ANSWER = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class MLflow(RunLogger):
    """Curves, pictures, hyperparameters, tags and the run folder's files; the jobs of a sweep are children of one run.

    `store`: the folder of mlflow.db and artifacts/, where MLFLOW_TRACKING_URI names no server. A resumed run goes on as
    the same MLflow run, and points that it has already are not sent again.
    """

    def __init__(self, folder: str, experiment: str, store: str) -> None:
        super().__init__(folder)
        self.experiment_name, self.store = experiment, Store(Path(store))
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or ""
        for name, value in ANSWER.items():
            os.environ.setdefault(name, value)
        self.metrics: list[Metric] = []

    @property
    def where(self) -> str:
        return self.uri or str(self.store.folder)

    def open(self) -> None:
        if not self.uri:
            if self.ended and not self.store.database.exists():
                raise RuntimeError(NOT_THERE)
            self.store.prepare()
        self.experiment = MlflowClient(self.uri or self.store.uri)
        self.experiment_id, record = self._experiment_id(), self.read_record()
        run = self._find(record["id"]) if self.ended or "resumed" in record else None
        if self.ended and run is None:
            raise RuntimeError(NOT_THERE)
        in_sweep = record["sweep"] and not self.ended
        self.sweep = sweep_run(self.experiment, self.experiment_id, self.folder.parent) if in_sweep else None
        if run is None:
            tags = {RUN_ID: record["id"], **described(record)} | ({PARENT: self.sweep} if self.sweep else {})
            run = self.experiment.create_run(self.experiment_id, tags=tags, run_name=self.folder.name)
        location = run.info.artifact_uri if self.uri else self.store.location(run.info.artifact_uri)
        self.run_id, self.params = run.info.run_id, run.data.params
        self.files = get_artifact_repository(location, tracking_uri=self.uri or None)
        if not self.ended:
            self._go_on(run)

    def _go_on(self, run: Run) -> None:
        self.experiment.update_run(self.run_id, status="RUNNING")
        if "error" in run.data.tags:
            self.experiment.delete_tag(self.run_id, "error")
        points = {name: self.experiment.get_metric_history(self.run_id, name) for name in run.data.metrics}
        self.recorded = {name: max(point.step for point in history) for name, history in points.items()}

    def _experiment_id(self) -> str:
        found = self.experiment.get_experiment_by_name(self.experiment_name)
        if found is None and self.ended:
            raise RuntimeError(NOT_THERE)
        if found is None:
            location = None if self.uri else f"{self.store.artifact_root}/{slug(self.experiment_name)}"
            try:
                return self.experiment.create_experiment(self.experiment_name, artifact_location=location)
            except MlflowException:  # another job has made it just now
                found = self.experiment.get_experiment_by_name(self.experiment_name)
                if found is None:
                    raise
        return found.experiment_id

    def _find(self, run_id: str) -> Run | None:
        return next(iter(self.experiment.search_runs([self.experiment_id], f"tags.`{RUN_ID}` = '{run_id}'")), None)

    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        # a parameter is written once; what a resumed run changes stands in its run.json
        new = [Param(name, str(value)) for name, value in params.items() if name not in self.params]
        self.experiment.log_batch(self.run_id, params=new)

    def log_metrics(self, metrics: dict[str, float], step: int, seconds: float) -> None:  # type: ignore[override]
        new = {name: value for name, value in metrics.items() if step > self.recorded.get(name, -1)}
        self.metrics += [Metric(name, value, int(1000 * seconds), step) for name, value in new.items()]

    def log_image(self, name: str, image_HWC: ndarray, step: int) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder, f"{Path(name).name}_{step}.png")
            Image.fromarray(image_HWC).save(path)
            self.files.log_artifact(str(path), str(Path(name).parent))

    def log_artifact(self, path: Path) -> None:
        name = path.relative_to(self.folder)
        if self.uri and any(each.is_dir() for each in path.glob("*")):
            with TemporaryDirectory() as folder:  # as one file: with a request for each of source/ a far server is slow
                self.files.log_artifact(make_archive(str(Path(folder, path.name)), "zip", path))
        elif path.is_dir():
            self.files.log_artifacts(str(path), str(name))
        else:
            self.files.log_artifact(str(path), None if name.parent == Path() else str(name.parent))

    def flush(self) -> None:
        while self.metrics:
            self.experiment.log_batch(self.run_id, metrics=self.metrics[:BATCH])
            del self.metrics[:BATCH]

    def end(self, record: dict[str, Any]) -> None:
        if "error" in record:
            self.experiment.set_tag(self.run_id, "error", record["error"])
        self.experiment.set_terminated(self.run_id, STATUS[record["status"]])
        if self.sweep:
            end_of_job(self.experiment, self.experiment_id, self.sweep)


def described(record: dict[str, Any]) -> dict[str, str]:
    """Of run.json, as tags: those that MLflow's pages know by name, and the user's own."""
    git = record["git"] or {}
    own = [word for word in record["tags"] if not word.startswith("mlflow.")]
    tags = {
        **dict.fromkeys(own, "true"),
        "mlflow.note.content": record["comment"],
        "mlflow.source.name": record["command"],
        "mlflow.source.git.commit": git.get("commit"),
        "git.dirty": git.get("dirty"),
        "host": record["host"],
    }
    return {name: str(value) for name, value in tags.items() if value is not None}
