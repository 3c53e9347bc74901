"""The loggers of a run that has ended: it gets pictures that are made later, and nothing else of it changes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy import ndarray
from pytorch_lightning.loggers import Logger

from logger.guarded import Group, Guarded
from logger.run_logger import RunLogger, read_rows


def guard_ended(
    loggers: Sequence[Logger],
    names: Sequence[str],
    patience: float,
    folder: str,
    artifacts: Mapping[str, Sequence[str]],
) -> list["PicturesOnly"]:
    """Those that take pictures, each in a guard; as guarded.guard otherwise, with what a training calls."""
    group = EndedGroup(patience, {when: [Path(folder, name) for name in names] for when, names in artifacts.items()})
    rows = read_rows(Path(folder, "metrics.csv"))
    step = int(rows[-1]["step"]) if rows else 0
    kept = []
    for logger, name in zip(loggers, names, strict=True):
        if isinstance(logger, RunLogger):
            logger.ended = True
            kept.append(PicturesOnly(Guarded(logger, name, group), step))
    return kept


class EndedGroup(Group):
    def consolation(self, without: Sequence[Guarded] = ()) -> str:
        return "the pictures are in the run folder all the same"


class PicturesOnly(Logger):
    """Pass pictures on as figures/NAME at the last step of the run, and not the metrics that a test gives."""

    def __init__(self, guarded: Guarded, step: int) -> None:
        super().__init__()
        self.guarded, self.step = guarded, step

    @property
    def name(self) -> str:
        return self.guarded.name

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run has its own."""

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run has its own."""

    def log_image(self, name: str, image_HWC: ndarray, step: int) -> None:
        self.guarded.log_image(f"figures/{Path(name).name}", image_HWC, self.step)

    def close(self, record: dict[str, Any]) -> None:
        self.guarded.close(record)
