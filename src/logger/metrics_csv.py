"""metrics.csv in the run folder, which records every loss and metric, one row per step; and system.csv.

Lightning's CSVLogger writes only at steps divisible by 100, and empties its folder at the start.
"""

import csv
import logging
from argparse import Namespace
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from logger.run_logger import read_table
from process.errors import UserError
from process.files import explain_os_errors, open_regular, replacing

log = logging.getLogger(__name__)

SYSTEM = "system/"  # prefix of metrics that depend on time or the machine


class MetricsCSV(Logger):
    """Logger that appends one row per call to metrics.csv, which a repeated or resumed run reproduces bit for bit.

    Metrics named `system/...` go to system.csv instead, with the time, and remain there when a run is resumed.
    """

    name, version = "csv", ""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.metrics = Table(Path(folder, "metrics.csv"), ["epoch", "step"])
        self.system = Table(Path(folder, "system.csv"), ["time", "epoch", "step"])

    def state_dict(self) -> dict[str, int]:
        """Return the number of rows in metrics.csv, for the checkpoint."""
        return {"rows": len(self.metrics.rows)}

    @rank_zero_only
    def load_state_dict(self, state: dict[str, int]) -> None:
        """Remove the rows of metrics.csv after the checkpoint: the resumed run writes them again."""
        self.metrics.read()
        if len(self.metrics.rows) < state["rows"]:
            lost = state["rows"] - len(self.metrics.rows)
            log.warning(f"{self.metrics.path} was damaged: {lost} of its rows are lost")
        del self.metrics.rows[state["rows"] :]
        self.metrics.rewrite()
        self.system.read()

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: config.yaml and run.json have them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        where = {"step": step} | ({"epoch": int(metrics["epoch"])} if "epoch" in metrics else {})
        system = {name.removeprefix(SYSTEM): value for name, value in metrics.items() if name.startswith(SYSTEM)}
        if system:
            now = datetime.now().astimezone().isoformat(timespec="seconds")
            self.system.append({"time": now, **where, **system})
        others = {name: value for name, value in metrics.items() if name != "epoch" and not name.startswith(SYSTEM)}
        if others:
            self.metrics.append({**where, **others})


class Table:
    """CSV file that grows by rows and by columns; new columns are appended in order of appearance."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        self.path, self.columns = path, columns
        self.rows: list[dict[str, Any]] = []  # one per logging interval or epoch: small

    def append(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        new = [name for name in row if name not in self.columns]
        if new or not self.path.exists():
            self.columns += new
            self.rewrite()
        else:
            with explain_os_errors(self.path), open_regular(self.path, newline="") as file:
                csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)

    def read(self) -> None:
        """Read the rows of the file, as text, without damaged ones; if it is unreadable, keep the rows in memory."""
        with suppress(UserError):
            columns, self.rows = read_table(self.path)
            self.columns = list(dict.fromkeys([*columns, *self.columns]))

    def rewrite(self) -> None:
        with replacing(self.path) as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
