"""The number of patches of a network that cuts them out of images."""

from collections.abc import Sequence

from torch import nn

from set_module.patch_cutout import PatchCutout


class CuttingNetwork(nn.Module):
    """Network whose `cutout` says which patches of an image it takes; None: it cuts nothing. `places` are as many.

    Images of any size have no number of places: None.
    """

    cutout: PatchCutout | None
    places: int | None

    @property
    def patch_num(self) -> tuple[int, int]:
        """Return the smallest and the largest number of patches; it may be set to a number or a pair.

        In evaluation mode it is the number in evaluation, in training mode that in training.
        Networks with a fixed number (grid, all, or no selection) have no such attribute: hasattr is false.
        """
        if self.cutout is None or self.cutout.count is None:
            raise AttributeError("patch_num")
        return self.cutout.count

    @patch_num.setter
    def patch_num(self, count: int | Sequence[int]) -> None:
        if self.cutout is None:
            raise ValueError(f"patch_num={count!r}: the data are sets already, which say how many patches there are")
        self.cutout.count = count

    @property
    def max_patch_num(self) -> int | None:
        """Return the largest number of patches that the selection can take of an image; None is no limit."""
        if self.cutout is None or self.cutout.replace:
            return None
        most: int | None = getattr(self.cutout, "most", None)
        return self.places if most is None else most
