"""TensorBoard of a run that may be resumed."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger


class TensorBoard(TensorBoardLogger):
    """Lightning's logger; a resumed run hides the points after its checkpoint, which it draws again."""

    last_step = -1

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics(metrics, step)  # type: ignore[arg-type]
        self.last_step = max(self.last_step, step or 0)

    def state_dict(self) -> dict[str, int]:
        """How far the curves are, for a checkpoint."""
        return {"last_step": self.last_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last_step = state["last_step"]
        if self._experiment is not None:
            self._experiment.close()
            self._experiment = None
        self._kwargs["purge_step"] = self.last_step + 1
