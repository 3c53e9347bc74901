"""Logger for MLflow: into mlruns/mlflow.db, or to the tracking server that MLFLOW_TRACKING_URI names."""

import fcntl
import os
import re
import sqlite3
from datetime import datetime
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

from logger.run_logger import RunLogger
from process.files import open_regular
from process.text import escape_markdown
from run.folder import slug

STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
# MLflow's limits: metrics and parameters per request, characters per value of a parameter, characters of names
METRICS, PARAMS, PARAM_LENGTH, NOT_IN_NAMES = 1000, 100, 6000, re.compile(r"[^/\w.\- :]")
RUN_ID, PARENT = "patch_sets.run_id", "mlflow.parentRunId"
UNKNOWN_RUN = "it does not know this run; was the run started in another directory?"
# seconds and retries; with MLflow's own, 120 and 7, a server that is gone is noticed after minutes
REQUESTS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
# columns of MLflow's database that hold absolute paths
PATH_COLUMNS = (("experiments", "artifact_location"), ("runs", "artifact_uri"))


class MLflow(RunLogger):
    """Logger of curves, images, hyperparameters, tags and files; the jobs of a sweep become children of one MLflow run.

    A resumed run continues its MLflow run; points that are already there are not sent again.

    Args:
        folder: the run folder.
        experiment: the name of MLflow's experiment.
        store: the folder of mlflow.db and artifacts/, used where MLFLOW_TRACKING_URI names no server.
    """

    def __init__(self, folder: str, experiment: str, store: str) -> None:
        super().__init__(folder)
        self.experiment_name, self.store = experiment, Store(Path(store))
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or ""
        for name, value in REQUESTS.items():
            os.environ.setdefault(name, value)
        self.metrics: list[Metric] = []

    @property
    def where(self) -> str:
        return self.uri or str(self.store.folder)

    def open(self) -> None:
        self.in_line = not self.uri  # jobs that share the database wait for the one that creates it, or the sweep's run
        if not self.uri:
            if self.ended and not self.store.database.exists():
                raise RuntimeError(UNKNOWN_RUN)
            self.store.prepare()
        self.experiment = MlflowClient(self.uri or self.store.uri)
        self.experiment_id, record = self._experiment_id(), self.read_record()
        run = self._find(record["id"]) if self.ended or "resumed" in record else None
        if self.ended and run is None:
            raise RuntimeError(UNKNOWN_RUN)
        in_sweep = record["sweep"] and not self.ended
        start = milliseconds(record["started"])
        self.sweep = sweep_run(self.experiment, self.experiment_id, self.folder.parent, start) if in_sweep else None
        if run is None:
            tags = {RUN_ID: record["id"], **describe(record)} | ({PARENT: self.sweep} if self.sweep else {})
            run = self.experiment.create_run(self.experiment_id, start, tags, run_name=self.folder.name)
        location = run.info.artifact_uri if self.uri else self.store.location(run.info.artifact_uri)
        self.run_id, self.params = run.info.run_id, set(run.data.params)
        self.files = get_artifact_repository(location, tracking_uri=self.uri or None)
        self.in_line = False
        if not self.ended:
            self._continue(run)

    def _continue(self, run: Run) -> None:
        self.experiment.update_run(self.run_id, status="RUNNING")
        if "error" in run.data.tags:
            self.experiment.delete_tag(self.run_id, "error")
        points = {name: self.experiment.get_metric_history(self.run_id, name) for name in run.data.metrics}
        self.recorded = {name: max(point.step for point in history) for name, history in points.items()}

    def _experiment_id(self) -> str:
        found = self.experiment.get_experiment_by_name(self.experiment_name)
        if found is None and self.ended:
            raise RuntimeError(UNKNOWN_RUN)
        if found is None:
            location = None if self.uri else f"{self.store.artifact_root}/{slug(self.experiment_name)}"
            try:
                return self.experiment.create_experiment(self.experiment_name, artifact_location=location)
            except MlflowException:  # another job has created it meanwhile
                found = self.experiment.get_experiment_by_name(self.experiment_name)
                if found is None:
                    raise
        return found.experiment_id

    def _find(self, run_id: str) -> Run | None:
        return next(iter(self.experiment.search_runs([self.experiment_id], f"tags.`{RUN_ID}` = '{run_id}'")), None)

    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        # MLflow writes a parameter only once; run.json holds what a resumed run changes
        values = {NOT_IN_NAMES.sub("_", name): str(value)[:PARAM_LENGTH] for name, value in params.items()}
        new = [Param(name, value) for name, value in values.items() if name not in self.params]
        self.params.update(values)
        for start in range(0, len(new), PARAMS):
            self.experiment.log_batch(self.run_id, params=new[start : start + PARAMS])

    def log_metrics(self, metrics: dict[str, float], step: int, seconds: float) -> None:  # type: ignore[override]
        values = {NOT_IN_NAMES.sub("_", name): value for name, value in metrics.items()}
        new = {name: value for name, value in values.items() if step > self.recorded.get(name, -1)}
        self.metrics += [Metric(name, value, int(1000 * seconds), step) for name, value in new.items()]

    def log_image(self, name: str, image_HWC: ndarray, step: int) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder, f"{Path(name).name}_{step}.png")
            Image.fromarray(image_HWC).save(path)
            self.files.log_artifact(str(path), str(Path(name).parent))

    def log_artifact(self, path: Path) -> None:
        name = path.relative_to(self.folder)
        if self.uri and any(each.is_dir() for each in path.glob("*")):
            with TemporaryDirectory() as folder:  # one request for all of source/: one per file is slow on a far server
                self.files.log_artifact(make_archive(str(Path(folder, path.name)), "zip", path))
        elif path.is_dir():
            self.files.log_artifacts(str(path), str(name))
        else:
            self.files.log_artifact(str(path), None if name.parent == Path() else str(name.parent))

    def flush(self) -> None:
        while self.metrics:
            self.experiment.log_batch(self.run_id, metrics=self.metrics[:METRICS])
            del self.metrics[:METRICS]

    def end(self, record: dict[str, Any]) -> None:
        if "error" in record:
            self.experiment.set_tag(self.run_id, "error", record["error"])
        ended = milliseconds(record["ended"])
        for name, value in record["metrics"].items():
            self.metrics.append(Metric(NOT_IN_NAMES.sub("_", f"final/{name}"), value, ended, 0))
        self.flush()
        self.experiment.set_terminated(self.run_id, STATUS[record["status"]], ended)
        if self.sweep:
            end_job(self.experiment, self.experiment_id, self.sweep)


def describe(record: dict[str, Any]) -> dict[str, str]:
    """Return MLflow's tags for a run.json: the user's own, and those that MLflow's pages show under a heading."""
    git = record["git"] or {}
    own = [word for word in record["tags"] if not word.startswith("mlflow.")]
    tags = {
        **dict.fromkeys(own, "true"),
        "mlflow.note.content": record["comment"] and escape_markdown(record["comment"]),
        "mlflow.source.name": record["command"],
        "mlflow.source.git.commit": git.get("commit"),
        "git.dirty": git.get("dirty"),
        "host": record["host"],
    }
    return {name: str(value) for name, value in tags.items() if value is not None}


def milliseconds(time: str) -> int:
    """Return a time of run.json as MLflow counts it, from 1970 on."""
    return round(1000 * datetime.fromisoformat(time).timestamp())


def sweep_run(client: MlflowClient, experiment_id: str, folder: Path, start: int) -> str:
    """Return the id of the MLflow run that stands for the sweep in `folder`; the first job creates it, at its start.

    A file in the folder keeps the id.
    """
    with open_regular(folder / ".mlflow", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # jobs may start at the same time: only one creates the run
        file.seek(0)
        run_id = file.read()
        try:
            client.update_run(run_id, status="RUNNING")
        except MlflowException:  # there is none yet, or it is in another store
            run_id = client.create_run(experiment_id, start, run_name=f"sweep {folder.name}").info.run_id
            file.truncate(0)
            file.write(run_id)
    return run_id


def end_job(client: MlflowClient, experiment_id: str, run_id: str) -> None:
    """End the run of the sweep if none of its jobs is running; it has failed if a job has failed."""
    jobs = client.search_runs([experiment_id], f"tags.`{PARENT}` = '{run_id}'")
    statuses = {job.info.status for job in jobs}
    if "RUNNING" not in statuses:
        worst = next((status for status in ("FAILED", "KILLED") if status in statuses), "FINISHED")
        client.set_terminated(run_id, worst, max(job.info.end_time for job in jobs))


class Store:
    """MLflow's SQLite database and artifacts in `folder`, where docker/mlflow.sh and `make mlflow` look for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.database = self.folder / "mlflow.db"
        self.uri = f"sqlite:///{self.database}"
        self.artifact_root = (self.folder / "artifacts").as_uri()

    def prepare(self) -> None:
        """Create the database if it does not exist, in one process while the others wait; then update its paths.

        A write-ahead log lets MLflow's page read while a run writes.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.database.exists():
                self._create()
            connection = sqlite3.connect(self.database, timeout=20)
            try:
                (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
                if mode != "wal":  # MLflow's server has created the database
                    connection.execute("PRAGMA journal_mode=WAL")
                self._update_paths(connection)
            finally:
                connection.close()

    def _create(self) -> None:
        """Create the database under another name, then rename it, so that no process opens an unfinished one."""
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        partial = self.database.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        store = SqlAlchemyStore(f"sqlite:///{partial}", self.artifact_root)
        store.engine.dispose()
        partial.rename(self.database)

    def location(self, uri: str) -> str:
        """Return the URI of a run's files on this disk, also for an experiment that MLflow's server created."""
        return uri.replace("mlflow-artifacts:", self.artifact_root, 1)

    def _update_paths(self, connection: sqlite3.Connection) -> None:
        """Replace the absolute paths that MLflow has stored: the folder may have been moved, or mounted elsewhere."""
        tail = f"/{self.folder.name}/artifacts/"
        with connection:
            for table, column in PATH_COLUMNS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, instr({column}, ?) + ?) "
                    f"WHERE {column} LIKE 'file://%' || ? || '%' AND instr({column}, ?) != 1",
                    (f"{self.artifact_root}/", tail, len(tail), tail, f"{self.artifact_root}/"),
                )
