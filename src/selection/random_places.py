"""Places drawn at random."""

from collections.abc import Sequence
from typing import Any

from set_module.patch_cutout import PatchCutout


class RandomPlaces(PatchCutout):
    """PatchCutout of n ~ U{lo..hi} patches of side `size`, every place equally likely, count = (lo, hi) or n.

    Without `replace`, no place is drawn twice. In evaluation mode test_count patches are drawn, if it is given. `facts`
    of the images are not used.
    """

    def __init__(
        self,
        size: int,
        count: int | Sequence[int],
        seed: int,
        test_count: int | None = None,
        replace: bool = True,
        **facts: Any,
    ) -> None:
        super().__init__(size, count, seed, "random", replace, test_count)
