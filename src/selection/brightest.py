"""The brightest places: what a selection that learns must beat where objects are bright on a dark ground."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from selection.scored_places import ScoredPlaces
from selection.thumbnail_scores import thumbnails_of
from set_module.lazy_images import LazyImages
from set_module.set_batch import SetBatch


class BrightestPlaces(ScoredPlaces):
    """PatchCutout of the places of a grid with the largest mean over all pixels and channels, as a thumbnail shows it.

    Raises ValueError for a scale below 1 or above the side of a patch.
    """

    def __init__(
        self,
        size: int,
        count: int | Sequence[int],
        seed: int,
        test_count: int | None = None,
        stride: int | None = None,
        apart: int = 0,
        scale: int = 4,
        **facts: Any,
    ) -> None:
        if not 1 <= scale <= size:
            raise ValueError(f"{scale=}: choose 1 to {size}, the side of a patch")
        super().__init__(size, count, seed, test_count, 2 * scale if stride is None else stride, apart, "brightest")
        self.scale = scale

    @torch.no_grad()
    def positions(self, images: Tensor | LazyImages, index_B: Tensor) -> SetBatch:
        """Return the corners [N, 2] of the brightest patches, the brightest first."""
        candidates, side = self.candidates(images), self.size // self.scale
        means_Bhw = avg_pool2d(thumbnails_of(images, self.scale).float(), side, stride=1).mean(1)
        last_2 = torch.tensor(means_Bhw.shape[1:], device=means_Bhw.device) - 1
        row_N, column_N = torch.minimum(candidates.values // self.scale, last_2).unbind(1)
        scores_N = means_Bhw[candidates.index, row_N, column_N]
        return self.best(images, candidates, candidates.with_values(scores_N).pad(-torch.inf)[0], index_B)[0]
