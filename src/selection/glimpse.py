"""Places that are chosen one after the other, each from what the earlier patches have shown."""

# B images, N patches in all, K patches of each, P places of a patch, C H W of an image, D features

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from selection.chosen_places import ChosenPlaces
from selection.learned_places import LearnedPlaces, feature_layers
from set_module.lazy_images import LazyImages
from set_module.set_batch import SetBatch


class Glimpses(LearnedPlaces):
    """PatchCutout whose k-th patch lies at argmax_p s_p, s = select(image, mask of the k - 1 patches before), [B, P].

    The scores are those of an MLP of [m x, m], x the normalised image and m 1 where it was seen: of nothing else. In
    training, Gumbel noise that depends on the seed, the epoch, the image, k and p alone is added, and the gradient is
    straight-through, see ChosenPlaces: the loss of the network reaches all choices, and through the masks each earlier
    one. In evaluation mode there is no noise, and a place that an earlier patch has taken is left out, so that the
    first n of more patches are those of n.

    Args:
        width: of the two hidden layers.
        widths: of convolutions before these, each with 2x2 pooling: for things that may be anywhere in an image.
        read: whether the places are learned by a reader, see LearnedPlaces, which shares the hidden layers.
    """

    def __init__(
        self,
        size: int,
        count: int | Sequence[int],
        seed: int,
        image_size: Sequence[int],
        channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        test_count: int | None = None,
        temperature: Sequence[float] = (1.0, 0.5),
        epochs: int = 1,
        freeze_at: float | None = None,
        width: int = 512,
        widths: Sequence[int] = (),
        read: bool = False,
        num_outputs: int = 0,
        mode: str = "glimpse",
        **facts: Any,
    ) -> None:
        super().__init__(size, count, seed, image_size, test_count, temperature, epochs, freeze_at, mode)
        self.keep_facts(channels, mean, std)
        self.policy = nn.Sequential(
            *feature_layers(image_size, channels, width, widths), nn.Linear(width, self.num_places)
        )
        if read:
            self.reader = nn.Linear(width, num_outputs)

    def select(self, images_BCHW: Tensor, mask_B1HW: Tensor) -> Tensor:
        """Return the score of each place for the next patch, float32 or 64 [B, P]; only what the mask shows is read."""
        pixels = self.normalised(images_BCHW)
        return self.scores(0, self.features(pixels, mask_B1HW.to(pixels.dtype)), len(pixels))

    def features(self, pixels_BCHW: Tensor, mask_B1HW: Tensor) -> Tensor:
        features_BD: Tensor = self.policy[:-1](torch.cat([pixels_BCHW * mask_B1HW, mask_B1HW], dim=1))
        return features_BD

    def scores(self, number: int, features_BD: Tensor | None, batch: int) -> Tensor:
        scores_BP: Tensor = self.policy[-1](features_BD)
        return scores_BP if scores_BP.dtype == torch.double else scores_BP.float()

    def positions(self, images_BCHW: Tensor | LazyImages, index_B: Tensor) -> SetBatch:
        """Return the corners [N, 2]; while places are learned, they are ChosenPlaces."""
        most = self.checked_count(images_BCHW)
        assert isinstance(images_BCHW, Tensor)
        lengths_B, set_N, number_N, max_len = self.drawn_lengths(index_B)
        sets = SetBatch.trusted(number_N, lengths_B, set_N, max_len)
        if self.explores:
            choice_BKP = torch.stack([look.choice for look in self.looks(images_BCHW, index_B)], dim=1)
            choice_NP = choice_BKP.flatten(0, 1).index_select(0, set_N * most + number_N)
            return ChosenPlaces.of(choice_NP, sets, images_BCHW, self.size)
        place_N = self.best(images_BCHW, lengths_B)[set_N, number_N]
        return sets.with_values(torch.stack([place_N // self.columns, place_N % self.columns], dim=1))

    @torch.no_grad()
    def best(self, images_BCHW: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the places in the order of choice, int64 [B, K]; those beyond an image's number are 0."""
        assert self.count is not None
        (lo, hi), pixels_BCHW = self.count, self.normalised(images_BCHW)
        mask_B1HW = pixels_BCHW.new_zeros(len(images_BCHW), 1, *images_BCHW.shape[2:])
        place_BK = torch.zeros(len(images_BCHW), hi, dtype=torch.int64, device=images_BCHW.device)
        taken_BP = torch.zeros(len(images_BCHW), self.num_places, dtype=torch.bool, device=images_BCHW.device)
        row_H, column_W = (torch.arange(side, device=images_BCHW.device) for side in images_BCHW.shape[2:])
        for k in range(hi):
            # images that have all their patches already cost nothing more
            image_M = slice(None) if k < lo else (lengths_B > k).nonzero()[:, 0]
            features_MD = self.features(pixels_BCHW[image_M], mask_B1HW[image_M])
            scores_MP = self.scores(k, features_MD, len(features_MD)).masked_fill(taken_BP[image_M], -torch.inf)
            place_M = scores_MP.argmax(1)
            place_BK[image_M, k] = place_M
            taken_BP[image_M] = taken_BP[image_M].scatter(1, place_M[:, None], True)
            below_MH, right_MW = (
                row_H - (place_M // self.columns)[:, None],
                column_W - (place_M % self.columns)[:, None],
            )
            inside_MH, inside_MW = ((each >= 0) & (each < self.size) for each in (below_MH, right_MW))
            seen_M1HW = (inside_MH[:, :, None] & inside_MW[:, None])[:, None]
            mask_B1HW[image_M] = mask_B1HW[image_M].masked_fill(seen_M1HW, 1.0)
        return place_BK
