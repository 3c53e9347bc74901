"""The fewest places that cover an image."""

from typing import Any

from set_module.patch_cutout import PatchCutout


class Grid(PatchCutout):
    """PatchCutout of ceil(H/p) x ceil(W/p) patches of side p = `size`, evenly spaced from edge to edge.

    With a `stride`, in pixels, the fewest that are at most so far apart. No place depends on the seed, which masked
    autoencoders use. Numbers of patches and facts of images are not used.
    """

    def __init__(self, size: int, seed: int = 0, stride: int | None = None, **facts: Any) -> None:
        super().__init__(size, seed=seed, mode="grid", stride=stride)
