"""Images that are painted from a recipe when they are read: small pictures, "stamps", in an empty image."""

# N images, S stamps of an image, K stamps to choose from, n patches, p side of a patch, s side of a stamp

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from set_module.lazy_images import ImageReader


class Stamped(ImageReader):
    """N images of stamps: stamp `number_NS` of `stamps_Kss` lies at the corner `corners_NS2`; later ones cover earlier.

    A recipe takes 8 bytes a stamp. Of an image, only the patches that are read are painted, and of them only the stamps
    that touch them.
    """

    channels = 1

    def __init__(self, stamps_Kss: Tensor, corners_NS2: Tensor, number_NS: Tensor, image_size: Sequence[int]) -> None:
        self.stamps_Kss, self.corners_NS2 = stamps_Kss.numpy(), corners_NS2.to(torch.int16).numpy()
        self.number_NS, self.image_size = number_NS.to(torch.int32).numpy(), (image_size[0], image_size[1])

    def size(self, item: int) -> tuple[int, int]:
        return self.image_size

    def read(self, item: int, corners_n2: Tensor, size: int) -> Tensor:
        return torch.from_numpy(self._paint(item, corners_n2.numpy(), size, size))

    def whole(self, items: Sequence[int]) -> Tensor:
        """Return whole images [B, 1, H, W]."""
        origin_12 = np.zeros((1, 2), np.int64)
        return torch.from_numpy(np.concatenate([self._paint(item, origin_12, *self.image_size) for item in items]))

    def _paint(self, item: int, corners_n2: np.ndarray, height: int, width: int) -> np.ndarray:
        """Return patches [n, 1, height, width]."""
        side = self.stamps_Kss.shape[-1]
        patches_nhw = np.zeros((len(corners_n2), height, width), np.uint8)
        offsets_nS2 = self.corners_NS2[item].astype(np.int64) - corners_n2[:, None]
        touches_nS = ((offsets_nS2 > -side) & (offsets_nS2 < (height, width))).all(2)
        stamps_Sss = self.stamps_Kss[self.number_NS[item]]
        patch_T, stamp_T = touches_nS.nonzero()  # patch by patch, in each the stamps in their order
        for patch, stamp, (y, x) in zip(patch_T, stamp_T, offsets_nS2[touches_nS].tolist(), strict=True):
            rows, columns = slice(max(-y, 0), height - y), slice(max(-x, 0), width - x)  # of the stamp
            patches_nhw[patch, max(y, 0) : y + side, max(x, 0) : x + side] = stamps_Sss[stamp, rows, columns]
        return patches_nhw[:, None]
