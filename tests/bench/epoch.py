"""An MNIST epoch of one small CNN at batch 128: ours, a plain loop on the same tensors, the usual template."""

from sides import RandomBytes, UsualModel, our_model, plain_epoch, quiet, trainer, usual_loader
from timing import EpochTimer, in_turn, ratio, row
from torch import nn

from network.normalize import Normalize

COUNT = 60000


class SmallCNN(nn.Module):
    """Two strided convolutions: as small as a network for MNIST can be (97 % after an epoch)."""

    def __init__(self, normalize: bool) -> None:
        super().__init__()
        self.normalize = Normalize([0.5], [0.5], 1) if normalize else nn.Identity()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=3),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 3 * 3, 10),
        )

    def forward(self, images, index=None):
        return self.layers(self.normalize(images))


def main() -> None:
    quiet()

    def plain() -> float:
        data = RandomBytes((1, 28, 28), COUNT)
        data.setup()
        return plain_epoch(SmallCNN(normalize=True), data.train_dataloader())

    def ours() -> float:
        timer = EpochTimer()
        trainer(2, timer, ours=True).fit(our_model(SmallCNN(normalize=True)), RandomBytes((1, 28, 28), COUNT))
        return timer.seconds

    def usual() -> float:
        timer, data = EpochTimer(), RandomBytes((1, 28, 28), COUNT)
        trainer(1, timer, ours=False).fit(UsualModel(SmallCNN(normalize=False)), usual_loader(data, COUNT))
        return timer.seconds

    figures = in_turn({"plain": plain, "ours": ours, "usual": usual}, runs=5)
    for side, values in figures.items():
        row(f"{side}, CPU s", f"{sorted(values)[2]:.2f}")
    row("usual / ours", ratio(figures["usual"], figures["ours"]), "goal >= 7")
    row("ours / plain", ratio(figures["ours"], figures["plain"]), "goal <= 1.25")
