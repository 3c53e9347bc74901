"""Cutting patches out of a batch of images, to normalised floats; drawing places without replacement."""

from collections.abc import Callable

import torch
from timing import cpu_seconds, in_turn, median, ratio, row

from network.normalize import Normalize
from set_module.patch_cutout import PatchCutout

SIDES = (28, 64, 224, 1024)  # pixels of the images out of which places are drawn


def repeated(function: Callable[[], object], times: int) -> float:
    def run() -> None:
        for _ in range(times):
            function()

    return cpu_seconds(run) / times * 1e3


def main() -> None:
    against_a_loop()
    for side in SIDES:
        without_replacement(side)


def against_a_loop() -> None:
    size, lo, hi, batch = 15, 1, 64, 128
    images = torch.randint(0, 256, (batch, 1, 28, 28), dtype=torch.uint8)
    index = torch.arange(batch)
    cutout, normalize = PatchCutout(size, (lo, hi), seed=0), Normalize([0.5], [0.5], 1)

    def loop() -> list[torch.Tensor]:
        sets = []
        for image in (images.float() / 255 - 0.5) / 0.5:
            count = int(torch.randint(lo, hi + 1, ()))
            places = torch.randint(0, 28 - size + 1, (count, 2)).tolist()
            sets.append(torch.stack([image[:, y : y + size, x : x + size] for y, x in places]))
        return sets

    figures = in_turn(
        {
            "loop": lambda: repeated(loop, 5),
            "ours": lambda: repeated(lambda: normalize(cutout(images, index).values), 50),
        }
    )
    for side, values in figures.items():
        row(f"{batch} images, {lo} to {hi} patches of {size}x{size}, {side}, ms", f"{sorted(values)[2]:.2f}")
    row("loop / ours", ratio(figures["loop"], figures["ours"]), "goal >= 20")


def without_replacement(side: int) -> None:
    """Compare the places drawn without replacement with those drawn with it; then the patches that are cut there."""
    images, index = torch.zeros(16, 1, side, side, dtype=torch.uint8), torch.arange(16)
    cutouts = {name: PatchCutout(15, 64, seed=0, replace=name == "with") for name in ("without", "with")}

    def places(cutout: PatchCutout) -> None:
        cutout.set_epoch(cutout.epoch + 1)  # other places each time
        cutout.positions(images, index)

    def patches(cutout: PatchCutout) -> None:
        cutout.set_epoch(cutout.epoch + 1)
        cutout(images, index)

    for draw in (places, patches):
        figures = in_turn(
            {
                name: lambda cutout=cutout, draw=draw: repeated(lambda: draw(cutout), 100)
                for name, cutout in cutouts.items()
            }
        )
        milliseconds = " / ".join(f"{median(values):.2f}" for values in figures.values())
        row(f"64 {draw.__name__} in 16 images of {side}x{side}, without / with replacement, ms", milliseconds)
        row("without / with", ratio(figures["without"], figures["with"]), "goal <= 3")
