"""Cut-out of patches, which turns an image into a set.

Positions are a function of (seed, epoch, image index, number of the patch): the patches of an image do not depend on
its batch, worker or rank, and the first 16 of 64 patches are the same as 16 patches.
"""

# B images, N patches in all, C H W of an image, p side of a patch

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from set_module.counter_rng import FIXED, random_int, random_large_int
from set_module.distinct_int import distinct_int
from set_module.lazy_images import LazyImages, PlacedCorners
from set_module.set_batch import SetBatch


class PatchCutout(nn.Module):
    """Patches of side p at corners (y, x) in {0..H-p} x {0..W-p}, chosen by mode:

    random: n_b ~ U{lo..hi} patches of image b, every place equally likely, with or without replacement (in
        a time that does not depend on the size of the image);
        in evaluation mode test_count patches of each image, if it is given
    grid: ceil(H/p) x ceil(W/p) places, evenly spaced from edge to edge: every pixel is seen; with a stride s, the
        fewest places that are at most s apart, ceil((H-p)/s) + 1 rows
    all: every one of the (H-p+1)(W-p+1) places

    [B, C, H, W] -> SetBatch of [N, C, p, p], of the images' dtype and on their device. LazyImages may have different
    sizes; the same places are read of them as are cut of tensors. index_B is the number of each image, from which its
    random numbers follow (None: 0..B-1). In evaluation mode every epoch cuts the same patches. Raises ValueError for an
    unknown mode, a count or a stride that is missing, below 1 or not for this mode, lo > hi, images smaller than the
    patch, and more patches without replacement than there are places.
    """

    def __init__(
        self,
        size: int,
        count: int | Sequence[int] | None = None,
        seed: int = 0,
        mode: str = "random",
        replace: bool = True,
        test_count: int | None = None,
        stride: int | None = None,
    ) -> None:
        super().__init__()
        _check_size(size)
        if mode not in ("random", "grid", "all"):
            raise ValueError(f"mode={mode!r}: choose random, grid or all")
        if stride is not None and (mode != "grid" or stride < 1):
            raise ValueError(f"{stride=}: choose a whole number >= 1, for mode='grid' alone")
        self.stride = size if stride is None else stride
        self.size, self.seed, self.mode, self.replace = size, seed, mode, replace
        self.train_count: tuple[int, int] | None = None
        self.test_count: tuple[int, int] | None = None  # None: as in training
        if mode == "random" or count is not None:
            self.count = count  # type: ignore[assignment]
        if test_count is not None:
            self.test_count = self._checked(test_count)
        self.epoch = 0

    @property
    def count(self) -> tuple[int, int] | None:
        """Return (lo, hi), both inclusive, or None if the mode fixes the number. May be set to a number or a pair.

        It belongs to the present mode, training or evaluation.
        """
        return self.train_count if self.training or self.test_count is None else self.test_count

    @count.setter
    def count(self, count: int | Sequence[int]) -> None:
        if self.training:
            self.train_count = self._checked(count)
        else:
            self.test_count = self._checked(count)

    def _checked(self, count: int | Sequence[int]) -> tuple[int, int]:
        if self.mode in ("grid", "all"):
            raise ValueError(f"patch_num={count!r}: {self.mode!r} says how many patches there are")
        return _range(count)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    @property
    def present_epoch(self) -> int:
        """Return the epoch for the random numbers, which in evaluation mode are those of no epoch."""
        return self.epoch if self.training else FIXED

    def drawn_lengths(self, index_B: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
        """Return the numbers of patches [B], the image and the number of each patch [N], and the largest number."""
        assert self.count is not None
        lo, hi = self.count
        if lo == hi:
            lengths_B = torch.full_like(index_B, lo)
        else:
            lengths_B = lo + random_int(hi - lo + 1, self.seed, self.present_epoch, index_B, draw=0)
        return lengths_B, *_numbered(lengths_B, lo, hi)

    def forward(self, images_BCHW: Tensor | LazyImages, index_B: Tensor | None = None) -> SetBatch:
        if index_B is None:
            index_B = torch.arange(len(images_BCHW))
        return self.cut(images_BCHW, self.positions(images_BCHW, index_B.to(images_BCHW.device)))

    def cut(self, images_BCHW: Tensor | LazyImages, corners: SetBatch) -> SetBatch:
        """Cut the patches whose upper left corners are given."""
        if isinstance(images_BCHW, LazyImages):
            return corners.with_values(images_BCHW.read(corners, self.size))
        return _cut(images_BCHW, corners, self.size)

    def positions(self, images_BCHW: Tensor | LazyImages, index_B: Tensor) -> SetBatch:
        """Return the upper left corners of the patches: SetBatch of rows and columns [N, 2]."""
        if isinstance(images_BCHW, LazyImages):
            return self._positions_in_each(images_BCHW, index_B.cpu())
        rows, columns = places(images_BCHW.shape, self.size)
        if self.count is None:
            return self._same_for_all(images_BCHW.shape, index_B.device)
        epoch, (_, hi) = self.present_epoch, self.count
        lengths_B, set_N, number_N, max_len = self.drawn_lengths(index_B)
        if self.replace:
            index_N = index_B.index_select(0, set_N)
            place_N = random_int(rows * columns, self.seed, epoch, index_N, draw=1 + number_N)
        elif hi > rows * columns:
            fewer = f"choose <= {rows * columns}, or replace=True"
            raise ValueError(f"patch_num={hi} exceeds the {rows * columns} places: {fewer}")
        else:
            place_N = distinct_int(rows * columns, self.seed, epoch, index_B, lengths_B, set_N, number_N)
        y_N = place_N // columns
        corners_N2 = torch.stack([y_N, place_N - y_N * columns], dim=1)
        return SetBatch.trusted(corners_N2, lengths_B, set_N, max_len)

    def regular_number(self, height_width: Sequence[int]) -> int:
        """Return the number of patches of mode grid or all in an image."""
        strides = {"grid": self.stride, "all": 1}
        return math.prod(-(-(length - self.size) // strides[self.mode]) + 1 for length in height_width)

    def _positions_in_each(self, images: LazyImages, index_B: Tensor) -> SetBatch:
        """Return the corners in images of any size: those of `positions`, drawn on the CPU."""
        last_B2, (epoch, count) = images.last_corners(self.size), (self.present_epoch, self.count)
        squares = images.squares(self.size)
        if count is None:
            each = [self._regular(height_width, torch.device("cpu")) for height_width in images.sizes_B2.tolist()]
            if squares is not None:
                each = [_inside(corners_P2, *square) for corners_P2, square in zip(each, squares, strict=True)]
            return PlacedCorners.of(SetBatch.from_list(each), last_B2, images.device)
        lengths_B, set_N, number_N, max_len = self.drawn_lengths(index_B)
        columns_B = last_B2[:, 1] + 1
        if squares is None:
            places_B = (last_B2[:, 0] + 1) * columns_B
        else:
            places_B = torch.tensor([len(corners_M2) * side**2 for corners_M2, side in squares])
        if self.replace:
            high_N, index_N = places_B.index_select(0, set_N), index_B.index_select(0, set_N)
            place_N = random_large_int(high_N, self.seed, epoch, index_N, draw=1 + number_N)
        elif count[1] > (fewest := int(places_B.min())):
            raise ValueError(f"patch_num={count[1]} exceeds the {fewest} places: choose <= {fewest}, or replace=True")
        else:
            place_N = distinct_int(places_B, self.seed, epoch, index_B, lengths_B, set_N, number_N)
        if squares is None:
            columns_N = columns_B.index_select(0, set_N)
            y_N = place_N // columns_N
            corners_N2 = torch.stack([y_N, place_N - y_N * columns_N], dim=1)
        else:
            corners_N2 = _in_squares(place_N, set_N, squares)
        return PlacedCorners.of(SetBatch.trusted(corners_N2, lengths_B, set_N, max_len), last_B2, images.device)

    def _regular(self, height_width: Sequence[int], device: torch.device) -> Tensor:
        """Return the corners of mode grid or all in an image, [P, 2]."""
        p, grid = self.size, self.mode == "grid"
        sides = [_evenly(length, p, self.stride) if grid else range(length - p + 1) for length in height_width]
        return torch.cartesian_prod(*(torch.tensor(list(side), device=device) for side in sides))

    def _same_for_all(self, shape: Sequence[int], device: torch.device) -> SetBatch:
        corners_P2 = self._regular(shape[2:], device)
        sets_B = torch.arange(shape[0], device=device)
        places = len(corners_P2)
        lengths_B, index_N = torch.full_like(sets_B, places), sets_B.repeat_interleave(places)
        return SetBatch.trusted(corners_P2.repeat(shape[0], 1), lengths_B, index_N, places)

    def extra_repr(self) -> str:
        counts = f"count={self.train_count}, test_count={self.test_count}"
        return f"size={self.size}, {counts}, seed={self.seed}, mode={self.mode}, replace={self.replace}"


def cutout_patch2d(
    images_BCHW: Tensor, patch_num: int | Sequence[int], patch_size: int, generator: torch.Generator | None = None
) -> SetBatch:
    """Cut patches at places drawn by a torch generator: PatchCutout for a notebook, without index and epoch.

    patch_num per image, or uniform in (lo, hi), both inclusive. [B, C, H, W] -> SetBatch of [N, C, p, p].
    """
    lo, hi = _range(patch_num)
    _check_size(patch_size)
    if len(images_BCHW) == 0:
        raise ValueError("no image was given: a SetBatch has at least one set")
    rows, columns = places(images_BCHW.shape, patch_size)
    device = generator.device if generator is not None else images_BCHW.device
    lengths_B = torch.randint(lo, hi + 1, (len(images_BCHW),), generator=generator, device=device)
    set_N, number_N, max_len = _numbered(lengths_B, lo, hi)
    place_N = torch.randint(rows * columns, number_N.shape, generator=generator, device=device)
    corners_N2 = torch.stack([place_N // columns, place_N % columns], dim=1)
    corners = SetBatch.trusted(corners_N2, lengths_B, set_N, max_len)
    return _cut(images_BCHW, corners.to(images_BCHW.device), patch_size)


def _cut(images_BCHW: Tensor, corners: SetBatch, size: int) -> SetBatch:
    # a row of a patch is p neighbours in memory: one index_select over all windows of p, a view, copies whole rows;
    # indexing the view images.unfold(2, p, 1).unfold(3, p, 1) copies pixel by pixel and takes 5 times as long
    channels, height, width = images_BCHW.shape[1:]
    pixels = images_BCHW.flatten()
    windows = pixels.as_strided((len(pixels) - size + 1, size), (1, 1))
    y_N, x_N = corners.values.unbind(1)
    first_N = corners.index * (channels * height * width) + y_N * width + x_N
    channel_C1 = torch.arange(channels, device=pixels.device)[:, None] * (height * width)
    row_p = torch.arange(size, device=pixels.device) * width
    start_NR = first_N[:, None] + (channel_C1 + row_p).flatten()
    patches = windows.index_select(0, start_NR.flatten())
    return corners.with_values(patches.view(-1, channels, size, size))


def _in_squares(place_N: Tensor, set_N: Tensor, squares: list[tuple[Tensor, int]]) -> Tensor:
    """Return the corner with each number among those of the squares of its image, [N, 2]."""
    firsts = SetBatch.from_list([corners_M2 for corners_M2, _ in squares])
    side_N = torch.tensor([side for _, side in squares]).index_select(0, set_N)
    square_N = place_N // side_N**2
    within_N = place_N - square_N * side_N**2
    before_B = firsts.lengths.cumsum(0) - firsts.lengths
    offset_N2 = torch.stack([within_N // side_N, within_N % side_N], dim=1)
    return firsts.values.index_select(0, before_B.index_select(0, set_N) + square_N) + offset_N2


def _inside(corners_P2: Tensor, firsts_M2: Tensor, side: int) -> Tensor:
    """Return the corners that lie in the squares; the first corner of the first square if none does."""
    wide = int(max(corners_P2.max(), firsts_M2.max())) // side + 1
    key_P, key_M = ((each // side) @ torch.tensor([wide, 1]) for each in (corners_P2, firsts_M2))
    kept_P2 = corners_P2[torch.isin(key_P, key_M)]
    return kept_P2 if len(kept_P2) else firsts_M2[:1]


def _numbered(lengths_B: Tensor, lo: int, hi: int) -> tuple[Tensor, Tensor, int]:
    """Return each element's set, its number in it, and the largest length; waits for a GPU only if lo < hi."""
    total, max_len = len(lengths_B) * hi, hi
    if lo < hi:
        total, max_len = torch.stack([lengths_B.sum(), lengths_B.max()]).tolist()
    sets_B = torch.arange(len(lengths_B), device=lengths_B.device)
    set_N = sets_B.repeat_interleave(lengths_B, output_size=total)
    first_B = lengths_B.cumsum(0) - lengths_B
    return set_N, torch.arange(total, device=lengths_B.device) - first_B.index_select(0, set_N), max_len


def places(images_shape: Sequence[int], size: int) -> tuple[int, int]:
    """Return the numbers of rows and columns of places; raise a ValueError if a patch is larger than the images."""
    if len(images_shape) != 4:
        raise ValueError(f"images of shape {list(images_shape)}: give a batch [B, C, H, W]")
    for name, length in zip(("height", "width"), images_shape[2:], strict=True):
        if size > length:
            raise ValueError(f"patch_size={size} exceeds the image {name} {length}: choose <= {length}")
    return images_shape[2] - size + 1, images_shape[3] - size + 1


def _check_size(size: int) -> None:
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"patch_size={size} is not a size: choose a whole number >= 1, as patches are squares")


def _evenly(length: int, size: int, stride: int) -> list[int]:
    """Return the fewest offsets from 0 to length - size that are at most a stride apart."""
    last = -(-(length - size) // stride)
    return [round(i * (length - size) / last) for i in range(last + 1)] if last else [0]


def _range(count: int | Sequence[int] | None) -> tuple[int, int]:
    pair = (count, count) if isinstance(count, int) else tuple(count or ())
    if len(pair) != 2 or not all(isinstance(n, int) for n in pair):
        raise ValueError(f"patch_num={count!r}: give a whole number, or the smallest and the largest number")
    if not 1 <= pair[0] <= pair[1]:
        raise ValueError(f"patch_num={count!r}: the smallest number must be >= 1 and <= the largest")
    return pair
