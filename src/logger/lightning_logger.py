"""Any other logger of Lightning's, or of the user: metrics and hyperparameters, as Lightning itself calls it."""

from typing import Any

from pytorch_lightning.loggers import Logger

from logger.run_logger import RunLogger

STATUS = {"finished": "success", "failed": "failed", "interrupted": "aborted"}


class LightningLogger(RunLogger):
    """`_target_: pytorch_lightning.loggers.CometLogger` in a YAML, in a guard like our own."""

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
