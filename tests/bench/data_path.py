"""Images per CPU second from the data set to the normalised float batch, against torchvision + DataLoader."""

from sides import RandomBytes, usual_loader
from timing import cpu_seconds, in_turn, ratio, row

from network.normalize import Normalize


def main() -> None:
    for name, shape, count, augmented, goal in (
        ("MNIST", (1, 28, 28), 60000, False, "goal >= 60"),
        ("CIFAR, random crop and flip", (3, 32, 32), 50000, True, "goal >= 30"),
    ):
        data = RandomBytes(shape, count, augmented)
        data.setup()
        loader, normalize = data.train_dataloader(), Normalize([0.5], [0.5], shape[0])
        usual = usual_loader(data, count // 10)

        def ours(data=data, loader=loader, normalize=normalize) -> None:
            for images, _, index in loader:
                normalize(images if data.augment is None else data.augment(images, index, 0))

        def theirs(usual=usual) -> None:
            for _ in usual:
                pass

        figures = in_turn(
            {
                "ours": lambda ours=ours, count=count: count / cpu_seconds(ours),
                "usual": lambda theirs=theirs, count=count: count // 10 / cpu_seconds(theirs),
            }
        )
        for side, values in figures.items():
            row(f"{name}, {side}, images/s", f"{sorted(values)[len(values) // 2]:,.0f}")
        row(f"{name}, ours / usual", ratio(figures["ours"], figures["usual"]), goal)
