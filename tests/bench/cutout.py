"""Cutting patches out of a batch of images, to normalised floats, against a loop over the images."""

import torch
from timing import cpu_seconds, in_turn, ratio, row

from network.normalize import Normalize
from set_module.patch_cutout import PatchCutout


def main() -> None:
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

    def repeated(function, times: int) -> float:
        def run() -> None:
            for _ in range(times):
                function()

        return cpu_seconds(run) / times * 1e3

    figures = in_turn(
        {
            "loop": lambda: repeated(loop, 5),
            "ours": lambda: repeated(lambda: normalize(cutout(images, index).values), 50),
        }
    )
    for side, values in figures.items():
        row(f"{batch} images, {lo} to {hi} patches of {size}x{size}, {side}, ms", f"{sorted(values)[2]:.2f}")
    row("loop / ours", ratio(figures["loop"], figures["ours"]), "goal >= 20")
