"""The MLflow run that stands for a sweep: its jobs are its children, whichever of them comes first."""

import fcntl
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

PARENT = "mlflow.parentRunId"


def sweep_run(client: MlflowClient, experiment_id: str, folder: Path) -> str:
    """The id of the run of the sweep in `folder`, which a job makes if it is the first, and keeps in a file there."""
    with (folder / ".mlflow").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # of jobs that start together one makes the run
        file.seek(0)
        run_id = file.read()
        try:
            client.update_run(run_id, status="RUNNING")
        except MlflowException:  # none yet, or of another store
            run_id = client.create_run(experiment_id, run_name=f"sweep {folder.name}").info.run_id
            file.truncate(0)
            file.write(run_id)
    return run_id


def end_of_job(client: MlflowClient, experiment_id: str, run_id: str) -> None:
    """The sweep is over when none of its jobs runs; it has failed where one of them has."""
    jobs = client.search_runs([experiment_id], f"tags.`{PARENT}` = '{run_id}'")
    statuses = {job.info.status for job in jobs}
    if "RUNNING" not in statuses:
        worst = next((status for status in ("FAILED", "KILLED") if status in statuses), "FINISHED")
        client.set_terminated(run_id, worst)
