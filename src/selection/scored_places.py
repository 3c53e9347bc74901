"""The base class of selections that score every place of a grid and look at the best."""

# B images, N patches in all, P places of an image, M places that are chosen

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from selection.grid import Grid
from set_module.lazy_images import LazyImages, PlacedCorners, placed_on_cpu
from set_module.patch_cutout import PatchCutout
from set_module.set_batch import SetBatch

LATER = 1e6  # more than scores differ by: places near a chosen one come after all others


class ScoredPlaces(PatchCutout):
    """PatchCutout of the n ~ U{lo..hi} best places of a grid, the best first, none of them twice.

    The places are those of Grid. With `apart`, a place that is less than so many pixels away from a better one, in rows
    and in columns, comes after all others: patches then show different things. The first n of more patches are those
    of n. Raises ValueError for more patches than places, and for a negative `apart`.
    """

    def __init__(
        self,
        size: int,
        count: int | Sequence[int],
        seed: int,
        test_count: int | None,
        stride: int | None,
        apart: int,
        mode: str,
    ) -> None:
        super().__init__(size, count, seed, "random", False, test_count)
        if apart < 0:
            raise ValueError(f"{apart=}: choose a number of pixels, 0 for none")
        self.mode, self.apart, self.grid = mode, apart, Grid(size, stride=stride)

    def candidates(self, images: Tensor | LazyImages) -> SetBatch:
        """Return the corners of all places, [N, 2]; raise a ValueError if an image has too few."""
        corners = self.grid.positions(images, torch.arange(len(images), device=images.device))
        assert self.count is not None
        if self.count[1] > (fewest := int(corners.lengths.min())):
            raise ValueError(f"patch_num={self.count[1]} exceeds the {fewest} places of the grid: choose <= {fewest}")
        return corners

    def parts(self, images: Tensor | LazyImages, corners: SetBatch, chunk: int) -> Iterator[SetBatch]:
        """Yield `chunk` corners after the other, of the same images; some images have none among them."""
        for first in range(0, len(corners.values), chunk):
            values_n2, index_n = (each[first : first + chunk] for each in (corners.values, corners.index))
            lengths_B = index_n.bincount(minlength=len(corners))
            yield self._placed(images, SetBatch.trusted(values_n2, lengths_B, index_n, min(chunk, corners.max_len)))

    def best(
        self, images: Tensor | LazyImages, candidates: SetBatch, scores_BP: Tensor, index_B: Tensor
    ) -> tuple[SetBatch, Tensor, Tensor]:
        """Return the corners of the places with the highest scores, and what `in_order` returns.

        Scores of places that are not there, where images have fewer than others, are -inf.
        """
        assert self.count is not None
        lengths_B, set_N, number_N, max_len = self.drawn_lengths(index_B)
        corners_BP2 = candidates.pad()[0]
        order_BM, step_BP = in_order(scores_BP.detach(), corners_BP2, self.count[1], self.apart)
        corners_N2 = corners_BP2[set_N, order_BM[set_N, number_N]]
        chosen = SetBatch.trusted(corners_N2, lengths_B, set_N, max_len)
        return self._placed(images, chosen), order_BM, step_BP

    def _placed(self, images: Tensor | LazyImages, corners: SetBatch) -> SetBatch:
        if isinstance(images, Tensor):
            return corners
        return PlacedCorners.of(placed_on_cpu(corners), images.last_corners(self.size), images.device)


def in_order(scores_BP: Tensor, corners_BP2: Tensor, number: int, apart: int) -> tuple[Tensor, Tensor]:
    """Return the places that are chosen one after the other, [B, M], and the step at which each place is gone, [B, P].

    In each step the best place is chosen, and gone are the places that are less than `apart` pixels away from it; for
    those that stay to the end the step is M. A place that is gone is chosen only when no other is left.
    """
    step_BP = torch.full_like(scores_BP, number, dtype=torch.int64)
    if not apart:
        order_BM = scores_BP.argsort(dim=1, descending=True, stable=True)[:, :number]
        return order_BM, step_BP.scatter_(1, order_BM, torch.arange(number, device=order_BM.device).expand_as(order_BM))
    left_BP, order = scores_BP.clone(), list[Tensor]()
    for step in range(number):
        best_B1 = left_BP.argmax(1, keepdim=True)
        chosen_B12 = corners_BP2.gather(1, best_B1[:, :, None].expand(-1, -1, 2))
        near_BP = ((corners_BP2 - chosen_B12).abs() < apart).all(2)
        step_BP[near_BP & (step_BP == number)] = step
        left_BP = torch.where(near_BP, left_BP - LATER, left_BP).scatter_(1, best_B1, -torch.inf)
        order.append(best_B1)
    return torch.cat(order, dim=1), step_BP
