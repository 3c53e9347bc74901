"""The interface of this project's loggers: Lightning's metrics, and images, histograms, files, a start and an end."""

import csv
import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy import ndarray
from pytorch_lightning.loggers import Logger

from process.errors import UserError
from run.data_file import MIB, DamagedFileError, read_bytes
from run.folder import read_run_json

MOST_BYTES = 512 * MIB  # of metrics.csv, which are some million rows
REST = "\0"  # the name of values for which a row of metrics.csv has no column
STATUS = {"finished": "success", "failed": "failed", "interrupted": "aborted"}  # ours: Lightning's


class RunLogger(Logger):
    """Base class of the loggers: each overrides the methods for what it can record, and ignores the rest.

    The constructor opens, connects and writes nothing. All other methods except `log_graph` are called in one thread of
    `guarded.Guarded`, in order: `open` first, `close` last. An exception disables the logger and not the training; the
    user sees it as one line, so raise errors that a person understands.
    """

    version = ""
    experiment: Any  # the library's own object for the run, available once it is open
    ended = False  # the run ended earlier: only images are added, `end` is not called
    in_line = False  # it waits for another process of this machine; the guard takes that for progress
    remedy = ""  # how to send the rest later, for the message that the guard does not wait any longer

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.recorded: dict[str, int] = {}  # metric -> the last step that a resumed run has recorded already

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    @property
    def where(self) -> str:
        """The server or folder that the logger writes to, for error messages."""
        return ""

    def read_record(self) -> dict[str, Any]:
        """Return run.json: id, command, git, comment, tags, settings, the sweep's folder, whether it was resumed."""
        return read_run_json(self.folder)

    def open(self) -> None:
        """Connect; continue the earlier record if the run is resumed."""

    def resume_at(self, step: int) -> None:
        """Continue after the checkpoint's step. Later points may have been logged already, and will be logged again.

        Earlier points that are missing (a killed process, another logger) are read from metrics.csv and logged now.
        """
        path = self.folder / "metrics.csv"
        for row in read_rows(path):
            at = int(row.pop("step"))
            values = {name: value for name, value in row.items() if self.recorded.get(name, -1) < at <= step}
            if values.keys() - {"epoch"}:
                self.log_metrics(values, at, path.stat().st_mtime)

    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Record a flat dictionary of plain values; may be called twice, as a module may have its own."""

    def log_metrics(self, metrics: dict[str, float], step: int, seconds: float) -> None:  # type: ignore[override]
        """Record numbers at a step of the optimizer, and at a time in seconds since 1970."""

    def log_image(self, name: str, image_HWC: ndarray, step: int) -> None:
        """Record an RGB image of uint8 [H, W, 3]."""

    def log_histogram(self, name: str, counts: ndarray, edges: ndarray, step: int) -> None:
        """Record the number of values between neighbouring edges: counts [n], edges [n + 1]."""

    def log_artifact(self, path: Path) -> None:
        """Record a file or folder of the run folder, under its name there."""

    def flush(self) -> None:
        """Send buffered values; called every few seconds, and before `close`."""

    def end(self, record: dict[str, Any]) -> None:
        """Record the end of the run; its last files follow before `close`, which may take long.

        `metrics` of the record are those of the checkpoint that was tested; the last points of the curves are those of
        the last epoch. A logger that keeps numbers by name only records them as `final/NAME`.
        """

    def close(self, record: dict[str, Any]) -> None:
        """Disconnect; `record` is run.json with status finished, failed or interrupted, and the final metrics."""


class LightningLogger(RunLogger):
    """Adapter that gives metrics and hyperparameters to a logger of Lightning, or to any other class of that interface.

    A YAML file with `_target_: pytorch_lightning.loggers.CometLogger`, for example, is all that such a logger needs.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__("")
        self.logger = logger

    @property
    def experiment(self) -> Any:
        return self.logger.experiment  # type: ignore[attr-defined]

    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        self.logger.log_hyperparams(params)

    def log_metrics(self, metrics: dict[str, float], step: int, seconds: float) -> None:  # type: ignore[override]
        self.logger.log_metrics(metrics, step)

    def flush(self) -> None:
        self.logger.save()

    def close(self, record: dict[str, Any]) -> None:
        self.logger.finalize(STATUS[record["status"]])


def flatten(params: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested hyperparameters as one dictionary with names like `a/b`; an object becomes its text."""
    flat: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = value if is_plain(value) else str(value)
    return flat


def is_plain(value: Any) -> bool:
    """Return whether a value is None, a number, a text, or a list of them."""
    if isinstance(value, list | tuple):
        return all(is_plain(each) for each in value)
    return isinstance(value, int | float | str | None)


def read_rows(path: Path) -> list[dict[str, float]]:
    """Return the rows of metrics.csv, each with the columns that have a value; none if there is no file.

    Damaged rows are left out: those without a step, and what is no number.
    """
    if not path.exists():
        return []
    _, texts = read_table(path)
    rows = [{name: number for name, text in row.items() if (number := _number(text)) is not None} for row in texts]
    return [row for row in rows if 0 <= row.get("step", -1) < 2**63]


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns of a CSV file and its rows as text; bytes that are no UTF-8 are replaced.

    Rows with more values than columns, and what follows a row that is no CSV, are left out. Raises a UserError if the
    file cannot be read.
    """
    try:
        text = read_bytes(path, MOST_BYTES).removeprefix(b"\xef\xbb\xbf").decode(errors="replace")
    except (OSError, DamagedFileError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}: restore it, or remove it") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey=REST)
    columns, rows = list[str](), list[dict[str, str]]()
    with suppress(csv.Error):
        columns += reader.fieldnames or []
        rows.extend(row for row in reader if REST not in row)
    return columns, rows


def _number(text: str | None) -> float | None:
    """Return a value of metrics.csv; None if there is none, or a damaged one."""
    try:
        return float(text) if text else None
    except ValueError:
        return None
