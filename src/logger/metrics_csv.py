"""metrics.csv in the run folder: every loss and metric, a row a step, whatever other loggers do.

Lightning's CSVLogger keeps rows back until a step divisible by 100 and empties its folder at the start.
"""

import csv
import logging
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from run.atomic import explained, replacing

log = logging.getLogger(__name__)


class MetricsCSV(Logger):
    """Append a row per call; the columns are `epoch`, `step` and the metrics in the order of their first appearance."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder, "metrics.csv")
        self.rows: list[dict[str, Any]] = []  # one per logging interval or epoch: small
        self.columns = ["epoch", "step"]

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def state_dict(self) -> dict[str, int]:
        """How far the file is, for a checkpoint."""
        return {"rows": len(self.rows)}

    @rank_zero_only
    def load_state_dict(self, state: dict[str, int]) -> None:
        """Cut the file back to what it was at the checkpoint: a resumed run writes the rest again."""
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self.rows = list(reader)[: state["rows"]]  # as text, and as they are
                self.columns = list(reader.fieldnames or self.columns)
        except (OSError, UnicodeDecodeError, csv.Error):
            pass
        if len(self.rows) < state["rows"]:
            log.warning(f"{self.path} was damaged: {state['rows'] - len(self.rows)} of its rows are lost")
        self._rewrite()

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: config.yaml and run.json hold them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row: dict[str, Any] = {"step": step, **metrics}
        if "epoch" in row:
            row["epoch"] = int(row["epoch"])
        self.rows.append(row)
        new = [name for name in row if name not in self.columns]
        if new or not self.path.exists():
            self.columns += new
            self._rewrite()
        else:
            with explained(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)

    def _rewrite(self) -> None:
        with replacing(self.path) as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
