"""Images that are painted from a recipe when they are read: small pictures, "stamps", in an empty image."""

# N images, S stamps of an image, K stamps to choose from, M patches, h w of a patch, s side of a stamp

import torch
from torch import Tensor


class Stamped:
    """N images of stamps: stamp `number_NS` of `stamps_Kss` lies at the corner `corners_NS2`; later ones cover earlier.

    A recipe takes 8 bytes a stamp; a pixel takes memory only while a patch that holds it is painted.
    """

    def __init__(self, stamps_Kss: Tensor, corners_NS2: Tensor, number_NS: Tensor) -> None:
        self.stamps_Kss, self.corners_NS2 = stamps_Kss, corners_NS2.to(torch.int16)
        self.number_NS = number_NS.to(torch.int32)

    def __len__(self) -> int:
        return len(self.number_NS)

    def paint(self, image_M: Tensor, corners_M2: Tensor, height: int, width: int) -> Tensor:
        """Return the patches [M, 1, height, width] at corners of images; only stamps that touch a patch are painted."""
        side = self.stamps_Kss.shape[-1]
        rows, columns = height + 2 * side, width + 2 * side  # a stamp that crosses an edge is painted into a margin
        painted = self.stamps_Kss.new_zeros(len(image_M) * rows * columns)
        offsets_MS2 = self.corners_NS2.index_select(0, image_M).long() - corners_M2[:, None] + side
        number_MS = self.number_NS.index_select(0, image_M)
        y_MS, x_MS = offsets_MS2.unbind(2)
        touches_MS = (y_MS > 0) & (y_MS < height + side) & (x_MS > 0) & (x_MS < width + side)
        first_MS = (torch.arange(len(image_M))[:, None] * rows + y_MS) * columns + x_MS
        line_s = torch.arange(side)
        inside_ss = line_s[:, None] * columns + line_s
        for touches_M, first_M, number_M in zip(touches_MS.T, first_MS.T, number_MS.T, strict=True):
            touched = touches_M.nonzero()[:, 0]
            pixels = first_M.index_select(0, touched)[:, None, None] + inside_ss
            stamps = self.stamps_Kss.index_select(0, number_M.index_select(0, touched))
            painted.index_copy_(0, pixels.flatten(), stamps.flatten())
        painted_Mhw = painted.view(-1, rows, columns)[:, side : side + height, side : side + width]
        return painted_Mhw[:, None].contiguous()
