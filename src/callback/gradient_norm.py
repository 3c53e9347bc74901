"""The norm of the gradient as a curve: how near training is to blowing up, and where to clip."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer


class GradientNorm(Callback):
    """`grad_norm`: the 2-norm of all gradients together, before clipping, of the last optimizer step until a row.

    Stays on the device until the row is written: no GPU waits for it.
    """

    def __init__(self) -> None:
        self.norm: Tensor | float | None = None

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        interval = trainer.log_every_n_steps  # type: ignore[attr-defined]
        before = trainer.fit_loop.total_batch_idx
        # with accumulated gradients a row may come at a batch that makes no step, before the next one that does
        if not interval or (before + trainer.accumulate_grad_batches) // interval == before // interval:
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.norm = get_total_norm(gradients)
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            self.norm = self.norm / scaler.get_scale()  # a fused optimizer divides by it, within its step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        metrics: Any = pl_module.step_metrics
        if self.norm is not None and pl_module.logs_now:
            metrics["grad_norm"] = self.norm
            self.norm = None

    def state_dict(self) -> dict[str, float]:
        return {} if self.norm is None else {"norm": float(self.norm)}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.norm = state_dict["norm"]
