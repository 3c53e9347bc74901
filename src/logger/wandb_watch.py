"""wandb's hooks on gradients and parameters, so that they can neither end nor stop the training."""

from collections import deque
from collections.abc import Iterator

import numpy as np
import torch
from numpy import ndarray
from pytorch_lightning import LightningModule
from torch import Tensor, nn

BINS = 64  # as many as wandb takes
Histogram = tuple[str, ndarray, ndarray, int]  # name, counts, edges, step


class Watch:
    """Histograms of `what` (gradients, parameters or all; None: of nothing), every `every` batches.

    The hooks of `wandb.watch` run in the training's own thread, and wait there for wandb's service; here they leave the
    histograms to be taken by the thread that logs. What one of them raises ends all of them, and is raised by `take`.
    """

    WHAT = (None, "gradients", "parameters", "all")

    def __init__(self, what: str | None, every: int) -> None:
        self.what, self.every = what, every
        self.histograms: deque[Histogram] = deque()
        self.begun = False
        self.error: Exception | None = None

    def begin(self, model: LightningModule) -> None:
        """Put the hooks on the model's network."""
        from wandb.integration.torch.wandb_torch import TorchHistory

        if self.what is None or self.begun:
            return
        self.begun = True
        network, hooks = model.network, TorchHistory()
        assert isinstance(network, nn.Module)

        def keep(tensor: Tensor, name: str) -> None:
            try:
                step = model.trainer.fit_loop.epoch_loop._batches_that_stepped
                self.histograms.append((name, *histogram(tensor), step))
            except Exception as error:
                self.error = error
                hooks.unhook_all()

        hooks.log_tensor_stats = keep  # type: ignore[method-assign]
        if self.what in ("parameters", "all"):
            hooks.add_log_parameters_hook(network, log_freq=self.every)
        if self.what in ("gradients", "all"):
            hooks.add_log_gradients_hook(network, log_freq=self.every)

    def take(self, until: int | None) -> Iterator[Histogram]:
        """What has been watched up to a step, or all of it."""
        if self.error is not None:
            raise self.error
        while self.histograms and (until is None or self.histograms[0][-1] <= until):
            yield self.histograms.popleft()


def histogram(tensor: Tensor) -> tuple[ndarray, ndarray]:
    """Counts and edges of the finite values."""
    values = tensor.detach().to("cpu", torch.float64).numpy()  # of float32, neighbouring edges may be equal
    return np.histogram(values[np.isfinite(values)], BINS)
