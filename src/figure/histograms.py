"""Histograms of parameters and gradients during training, which show dead, exploding and vanishing ones."""

import numpy
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from adapter import lightning
from figure.picture import WarnOnFailure, loggers_with

BINS = 64


class Histograms(Callback):
    """Histograms parameters/NAME and gradients/NAME, of finite values, before every `every_n_steps`-th optimizer step.

    Gradients are those of the loss: accumulated, before clipping, unscaled. Raises ValueError for a number below 1.
    """

    def __init__(self, every_n_steps: int) -> None:
        if every_n_steps < 1:
            raise ValueError(f"callbacks.histograms.every_n_steps={every_n_steps}: choose >= 1")
        self.every_n_steps = every_n_steps
        self.drawing = WarnOnFailure("histograms")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        step = lightning.logged_step(trainer)
        if step % self.every_n_steps == 0 and (loggers := loggers_with(trainer, "log_histogram")):
            with self.drawing, torch.no_grad():
                scale = lightning.loss_scale(trainer, optimizer)
                for name, parameter in pl_module.named_parameters():
                    values = {"parameters": parameter, "gradients": parameter.grad}
                    for kind, tensor in values.items():
                        if tensor is None:  # the loss does not depend on the parameter
                            continue
                        if found := histogram(tensor, 1 / scale if kind == "gradients" else 1):
                            for logger in loggers:
                                logger.log_histogram(f"{kind}/{name}", *found, step)


def histogram(tensor: Tensor, factor: float = 1.0) -> tuple[numpy.ndarray, numpy.ndarray] | None:
    """Count the finite values, times a factor, on their device: counts [64] and edges [65]; None if none is finite.

    Does not use torch.histc, which raises on a GPU under `trainer.deterministic=true`.
    """
    values_N = tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32)).flatten()
    values_N = values_N[values_N.isfinite()]
    if not len(values_N):
        return None
    low, high = torch.stack(values_N.aminmax()).tolist()
    if (high - low) / BINS < torch.finfo(torch.float32).tiny:  # all are equal
        room = max(0.5, abs(low) / 1000)
        low, high = low - room, high + room
    bin_N = ((values_N - low) * (BINS / (high - low))).clamp(0, BINS - 1).long()
    return torch.bincount(bin_N, minlength=BINS).cpu().numpy(), numpy.linspace(low * factor, high * factor, BINS + 1)
