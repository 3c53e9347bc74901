"""What a logger of this project takes beyond Lightning's metrics: pictures, histograms, files, a start and an end."""

import csv
import json
from pathlib import Path
from typing import Any

from numpy import ndarray
from pytorch_lightning.loggers import Logger


class RunLogger(Logger):
    """The base of the loggers that show a run: each overrides what it can show, and is silent about the rest.

    Nothing is opened, connected or written at construction. All other calls but `log_graph` come from one thread of
    `guarded.Guarded`, in order: `open` first, `close` last. Whatever is raised ends the logger, not the training, and
    is said to the user in one line: raise what a person understands.
    """

    experiment: Any  # what the library calls the run, once it is open
    ended = False  # whether the run has: pictures are added, and what else was logged of it stays; `end` is not called

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.recorded: dict[str, int] = {}  # of a resumed run, metric -> the last step that is there already

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    @property
    def where(self) -> str:
        """The server or folder that this writes to, if a person needs to know."""
        return ""

    @property
    def version(self) -> str:
        return ""

    def read_record(self) -> dict[str, Any]:
        """run.json: id, command, git, comment, tags, composed settings, the sweep's folder, whether it was resumed."""
        record: dict[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        return record

    def open(self) -> None:
        """Connect; of a resumed run, go on where it was."""

    def resume_at(self, step: int) -> None:
        """Training goes on after `step`: points after it may have been logged, and come again.

        What is not there of the points before, as the process was killed or the run had another logger, comes now.
        """
        path = self.folder / "metrics.csv"
        for row in read_rows(path):
            at = int(row.pop("step"))
            values = {name: value for name, value in row.items() if self.recorded.get(name, -1) < at <= step}
            if values.keys() - {"epoch"}:
                self.log_metrics(values, at, path.stat().st_mtime)

    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """A flat dictionary of plain values."""

    def log_metrics(self, metrics: dict[str, float], step: int, seconds: float) -> None:  # type: ignore[override]
        """Numbers at a step of the optimizer, and at a time in seconds since 1970."""

    def log_image(self, name: str, image_HWC: ndarray, step: int) -> None:
        """An RGB picture of uint8 [H, W, 3]."""

    def log_histogram(self, name: str, counts: ndarray, edges: ndarray, step: int) -> None:
        """How many values lie between neighbouring edges, [n] and [n + 1]."""

    def log_artifact(self, path: Path) -> None:
        """A file or a folder of the run folder, under its name there."""

    def flush(self) -> None:
        """Every few seconds, and before `close`: hand on what was kept back."""

    def end(self, record: dict[str, Any]) -> None:
        """The run has ended; its last files come between this and `close`, and may take long."""

    def close(self, record: dict[str, Any]) -> None:
        """Disconnect; `record` is run.json with status finished, failed or interrupted, and the final metrics."""


def read_rows(path: Path) -> list[dict[str, float]]:
    """Of metrics.csv, each with the columns that it has a value of; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
