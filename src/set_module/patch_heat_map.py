"""Map of the scores of patches to the pixels that they were cut from."""

# B images, N patches in all, K scores of a patch, H W of an image, p side of a patch

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from set_module.reduce import accumulable
from set_module.set_batch import SetBatch


def heat_map(scores: SetBatch, corners: SetBatch, patch_size: int, image_size: Sequence[int]) -> Tensor:
    """m(pixel) = mean of the scores of the patches that cover it, NaN where none does.

    Brendel & Bethge 2019, arXiv:1904.00760 (BagNet). Scores [N, K] and upper left corners (y, x) [N, 2] of the same
    sets -> [B, K, H, W].
    """
    rows, columns = (side - patch_size + 1 for side in image_size)
    y_N, x_N = corners.values.unbind(1)
    place_N = (corners.index * rows + y_N) * columns + x_N
    scores_NK = accumulable(scores.values)
    counted_NK = torch.cat([scores_NK, scores_NK.new_ones(len(place_N), 1)], dim=1)
    at_corners = scores_NK.new_zeros(len(scores) * rows * columns, counted_NK.shape[1])
    at_corners = at_corners.index_add(0, place_N, counted_NK)
    at_corners = at_corners.view(len(scores), rows, columns, -1).movedim(3, 1)
    # the sum over all corners whose patch covers a pixel is the sum over a window of p x p corners
    margin = patch_size - 1
    windows = functional.pad(at_corners, (margin, margin, margin, margin))
    covered = functional.avg_pool2d(windows, patch_size, stride=1, divisor_override=1)
    total, count = covered[:, :-1], covered[:, -1:]
    return torch.where(count > 0.5, total / count, torch.nan)
