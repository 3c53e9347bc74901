"""Extra CPU time per training step over a plain loop: our LightningModule, and metric objects on every step."""

import torch
from sides import RandomBytes, UsualModel, our_model, plain_epoch, quiet, trainer
from timing import EpochTimer, in_turn, row
from torch import nn

from adapter import lightning
from callback.monitor import GradientNorm, LearningRate, SystemMetrics, Throughput

STEPS = 469


class Tiny(nn.Module):
    """A network that takes next to no time."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, images, index=None):
        return self.linear(images.flatten(1).float())


def main() -> None:
    quiet()

    def plain() -> float:
        data = RandomBytes((1, 8, 8), STEPS * 128)
        data.setup()
        return plain_epoch(Tiny(), data.train_dataloader())

    def ours() -> float:
        timer = EpochTimer()
        trainer(2, timer, ours=True).fit(our_model(Tiny()), RandomBytes((1, 8, 8), STEPS * 128))
        return timer.seconds

    def monitored() -> float:
        timer = EpochTimer()
        curves = (LearningRate(), GradientNorm(), Throughput(), SystemMetrics(), lightning.skip_idle_hooks())
        trainer(2, timer, *curves, ours=True).fit(our_model(Tiny()), RandomBytes((1, 8, 8), STEPS * 128))
        return timer.seconds

    class TwoTensors(UsualModel):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch[:2], batch_idx)

    def usual() -> float:
        timer = EpochTimer()
        trainer(2, timer, ours=False).fit(TwoTensors(Tiny()), RandomBytes((1, 8, 8), STEPS * 128))
        return timer.seconds

    sides = {"plain": plain, "ours": ours, "ours, with the curves of callbacks=monitor": monitored, "usual": usual}
    figures = in_turn(sides)
    for side, goal in zip(list(sides)[1:], ("goal <= 0.4", "", ""), strict=True):
        extra = sorted((s - p) / STEPS * 1e3 for s, p in zip(figures[side], figures["plain"], strict=True))
        row(f"{side}, extra ms a step", f"{extra[2]:.3f} ({extra[0]:.3f} to {extra[-1]:.3f})", goal)


torch.manual_seed(0)
