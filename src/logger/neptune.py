"""Logger for Neptune: into the run folder, for `neptune sync --path FOLDER/neptune`, or to your own server.

Neptune's hosted service ended in March 2026. Lightning's own logger for it only raises an error since then.
"""

import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy import ndarray

from adapter import neptune as adapter
from logger.run_logger import RunLogger

MODES = ("offline", "async", "sync", "read-only", "debug")
ON_A_SERVER = ("async", "sync", "read-only")
DEPRECATED = "The 'neptune-client' package has been deprecated"  # in favour of `neptune`, which has the same version 1
RECORDED_ELSEWHERE: dict[str, Any] = {  # by run.json, source/, train.log and system.csv
    "source_files": [],
    "git_ref": False,
    "capture_stdout": False,
    "capture_stderr": False,
    "capture_traceback": False,
    "capture_hardware_metrics": False,
}


class Neptune(RunLogger):
    """Logger of curves, images, hyperparameters, final metrics and files; Neptune takes neither histograms nor NaN.

    A resumed run is the same run on a server; offline it is a second part with the same `run/id`. Raises a ValueError
    for an unknown mode and where neptune is not installed.

    Args:
        folder: the run folder.
        project: workspace/name; None: NEPTUNE_PROJECT.
        mode: offline, or one of Neptune's others; those on a server need NEPTUNE_API_TOKEN and a project.
        patience: seconds that the end of the run waits for the last uploads.
    """

    def __init__(self, folder: str, project: str | None, mode: str, patience: float) -> None:
        super().__init__(folder)
        if mode not in MODES:
            raise ValueError(f"loggers.neptune.mode={mode}: must be one of {', '.join(MODES)}")
        import_neptune()
        self.project, self.mode, self.patience = project, mode, patience

    def open(self) -> None:
        from neptune.exceptions import NeptuneException

        if self.mode in ON_A_SERVER and not os.environ.get("NEPTUNE_API_TOKEN"):
            raise RuntimeError(f"mode={self.mode} needs NEPTUNE_API_TOKEN; without it: loggers.neptune.mode=offline")
        record = self.read_record()
        try:
            with data_directory(self.folder / "neptune" / ".neptune"):
                self.experiment = adapter.unattended_run()(
                    project=self.project,
                    mode=self.mode,  # type: ignore[arg-type]
                    custom_run_id=record["id"],
                    name=self.folder.name,
                    description=record["comment"] or "",
                    tags=record["tags"],
                    **RECORDED_ELSEWHERE,
                )
        except NeptuneException as error:  # its message is a coloured paragraph
            raise RuntimeError(type(error).__name__) from error
        self.experiment["sys/group_tags"].add([record["sweep"] or record["experiment_name"]])
        self._assign("run", {name: record[name] for name in ("id", "command", "git", "host")})

    def resume_at(self, step: int) -> None:
        if self.mode == "offline":  # a server has the points already, and refuses a step that comes twice
            super().resume_at(step)

    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        self._assign("hparams", params)

    def log_metrics(self, metrics: dict[str, float], step: int, seconds: float) -> None:  # type: ignore[override]
        for name, value in metrics.items():
            if math.isfinite(value):
                self.experiment[f"metrics/{field_name(name)}"].append(value, step=step, timestamp=seconds)

    def log_image(self, name: str, image_HWC: ndarray, step: int) -> None:
        from neptune.types import File
        from PIL import Image

        self.experiment[name].append(File.as_image(Image.fromarray(image_HWC)), step=step)

    def log_artifact(self, path: Path) -> None:
        field = self.experiment[f"files/{path.relative_to(self.folder)}"]
        if path.is_dir():
            field.upload_files(f"{path}/**/*")
        else:
            field.upload(str(path))

    def end(self, record: dict[str, Any]) -> None:
        self._assign("final", {"status": record["status"], **record["metrics"]})
        self.experiment["sys/failed"] = record["status"] == "failed"

    def close(self, record: dict[str, Any]) -> None:
        self.experiment.stop(seconds=self.patience)

    def _assign(self, name: str, values: dict[str, Any]) -> None:
        from neptune.utils import stringify_unsupported

        self.experiment[name] = stringify_unsupported({field_name(each): value for each, value in values.items()})


def import_neptune() -> None:
    """Import neptune and hide its advice to install another package; pass other warnings on.

    Raises a ValueError where neptune is not installed.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore", DeprecationWarning)  # of the old libraries that it depends on
        try:
            import neptune  # noqa: F401
        except ImportError as error:
            raise ValueError(
                "neptune is not installed: uv pip install neptune-client, or leave it out of loggers="
            ) from error
    for warning in caught:
        if DEPRECATED not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    logging.getLogger("neptune").setLevel(logging.WARNING)  # no "Neptune initialized", "Done!"
    adapter.keep_random_state()


@contextmanager
def data_directory(folder: Path) -> Iterator[None]:
    """Make runs that are created in this block keep their files in `folder`: Neptune reads it from the environment."""
    before = os.environ.get("NEPTUNE_DATA_DIRECTORY")
    os.environ["NEPTUNE_DATA_DIRECTORY"] = str(folder)
    try:
        yield
    finally:
        del os.environ["NEPTUNE_DATA_DIRECTORY"]
        if before is not None:
            os.environ["NEPTUNE_DATA_DIRECTORY"] = before


def field_name(name: str) -> str:
    """Return the name without `/`: where there is a field `model`, Neptune refuses `model/pool` below it."""
    return name.replace("/", ".")
