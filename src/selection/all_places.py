"""Every place of an image."""

from typing import Any

from set_module.patch_cutout import PatchCutout


class AllPlaces(PatchCutout):
    """PatchCutout of the (H-p+1)(W-p+1) patches of side p = `size`.

    No place depends on the seed, which masked autoencoders use. Numbers of patches and facts of images are not used.
    """

    def __init__(self, size: int, seed: int = 0, **facts: Any) -> None:
        super().__init__(size, seed=seed, mode="all")
