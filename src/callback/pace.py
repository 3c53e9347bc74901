"""How fast a training is, and how long the rest of it takes."""

import math
import time

from pytorch_lightning import Trainer


class Pace:
    """Counts images and seconds from its making on, which is when training starts or goes on.

    `images_per_second` since `lap` was called, without validation; `left`: seconds to the end of the whole training,
    at the pace so far with validations and all, or None where there is no end to it.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.total = trainer.estimated_stepping_batches
        self.first_step, self.began = trainer.global_step, time.monotonic()
        self.paused: float | None = None
        self.lap()

    def lap(self) -> None:
        self.images, self.lap_began = 0, time.monotonic()

    def pause(self) -> None:
        self.paused = time.monotonic()

    def resume(self) -> None:
        if self.paused is not None:
            self.lap_began += time.monotonic() - self.paused
        self.paused = None

    @property
    def images_per_second(self) -> float:
        now = time.monotonic() if self.paused is None else self.paused
        return self.images / max(now - self.lap_began, 1e-9)

    def left(self, step: int) -> float | None:
        if step == self.first_step or math.isinf(self.total):
            return None
        return (time.monotonic() - self.began) / (step - self.first_step) * (self.total - step)
