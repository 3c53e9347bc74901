"""The base class of selections that score places by a small network from a thumbnail of the image."""

# B images, N places of all images, P of one, C channels, h w of a thumbnail

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from selection.scored_places import ScoredPlaces
from set_module.lazy_images import LazyImages
from set_module.set_batch import SetBatch


class ThumbnailScores(ScoredPlaces):
    """ScoredPlaces whose score of a place is the mean over its cells of a map of a thumbnail: best are whole objects.

    The thumbnail has the means of `scale` x `scale` pixels. 3x3 convolutions of `widths`, of which the first has
    stride 2, BatchNorm and ReLU, then a 3x3 convolution to one number make the map: a cell of it is 2 `scale` x 2
    `scale` pixels. Raises ValueError without widths and for a scale < 1.
    """

    pixel_scale: Tensor
    pixel_shift: Tensor

    def __init__(
        self,
        size: int,
        count: int | Sequence[int],
        seed: int,
        test_count: int | None,
        stride: int | None,
        apart: int,
        mode: str,
        channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        scale: int,
        widths: Sequence[int],
    ) -> None:
        if not widths or scale < 1:
            raise ValueError(f"{scale=}, widths={list(widths)}: choose a scale >= 1 and at least one width")
        super().__init__(size, count, seed, test_count, 2 * scale if stride is None else stride, apart, mode)
        self.scale = scale
        mean_C11, std_C11 = (torch.tensor(list(values)).expand(channels).reshape(-1, 1, 1) for values in (mean, std))
        self.register_buffer("pixel_scale", 1 / (255 * std_C11))
        self.register_buffer("pixel_shift", -mean_C11 / std_C11)
        layers = list[nn.Module]()
        for number, (inputs, outputs) in enumerate(zip([channels, *widths], widths, strict=False)):
            convolution = nn.Conv2d(inputs, outputs, 3, stride=1 if number else 2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.map = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))
        self.map.to(memory_format=torch.channels_last)

    def scores(self, images: Tensor | LazyImages, candidates: SetBatch) -> Tensor:
        """Return the score of each place, float32 or 64 [B, P]; -inf where an image has fewer places than others."""
        thumbnails_BChw = thumbnails_of(images, self.scale).to(self.pixel_scale.dtype)
        thumbnails_BChw = thumbnails_BChw * self.pixel_scale + self.pixel_shift
        map_Bhw = self.map(thumbnails_BChw.contiguous(memory_format=torch.channels_last))[:, 0]
        map_Bhw = map_Bhw if map_Bhw.dtype == torch.double else map_Bhw.float()
        side = max(1, self.size // (2 * self.scale))  # in cells
        map_Bhw = avg_pool2d(map_Bhw, side, stride=1)
        last_2 = torch.tensor(map_Bhw.shape[1:], device=map_Bhw.device) - 1
        row_N, column_N = torch.minimum(candidates.values // (2 * self.scale), last_2).unbind(1)
        scores_N = map_Bhw.flatten()[(candidates.index * map_Bhw.shape[1] + row_N) * map_Bhw.shape[2] + column_N]
        return candidates.with_values(scores_N).pad(-torch.inf)[0]


def thumbnails_of(images: Tensor | LazyImages, scale: int) -> Tensor:
    """Return the means of scale x scale pixels, rounded, [B, C, h, w]; those at the lower and right edge of fewer."""
    if isinstance(images, LazyImages):
        return images.thumbnails(scale)
    return avg_pool2d(images.float(), scale, ceil_mode=True).round()
