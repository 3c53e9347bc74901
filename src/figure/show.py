"""How callbacks show pictures and histograms: to the loggers that take them, and never at the training's cost."""

import logging
import unicodedata

import numpy
from PIL.Image import Image
from pytorch_lightning import Trainer

log = logging.getLogger(__name__)


def takers(trainer: Trainer, method: str) -> list[object]:
    """The loggers that have the method `log_image`, `log_histogram` or `log_text`, on rank 0; on the others none."""
    return [logger for logger in trainer.loggers if hasattr(logger, method)] if trainer.is_global_zero else []


def is_wanted(trainer: Trainer) -> bool:
    """Whether a logger takes pictures: the same answer on all ranks, which all have to ask."""
    return bool(trainer.strategy.broadcast(bool(takers(trainer, "log_image"))))


def show(trainer: Trainer, name: str, picture: Image) -> None:
    pixels_HWC = numpy.array(picture.convert("RGB"))
    for logger in takers(trainer, "log_image"):
        logger.log_image(name, pixels_HWC, steps(trainer))  # type: ignore[attr-defined]


def show_text(trainer: Trainer, name: str, text: str) -> None:
    """A file of that name, for what keeps figures as files: loggers of curves have no place for it."""
    for logger in takers(trainer, "log_text"):
        logger.log_text(name, text)  # type: ignore[attr-defined]


def steps(trainer: Trainer) -> int:
    """Of the optimizer so far: the axis of all that is logged."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


class Tolerated:
    """`with tolerated:` an exception becomes a warning, the first time: no training ends for a picture of it."""

    def __init__(self, what: str) -> None:
        self.what, self.failed = what, False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        if not self.failed:
            log.warning(f"no {self.what}: {type(error).__name__}: {error}")
        self.failed = True
        return True


def class_name(trainer: Trainer, label: int) -> str:
    """As the data calls it, without accents; `class 3` where the pictures' font lacks the letters, 3 without a name."""
    names = getattr(getattr(trainer, "datamodule", None), "class_names", ())
    name = names[label] if label < len(names) else ""
    if not name:
        return str(label)
    letters = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    return letters if letters.isascii() else f"class {label}"
