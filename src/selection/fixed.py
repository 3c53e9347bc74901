"""Learned places that are the same for all images: the baseline of every selection that looks at the image."""

# B images, N patches in all, K places that are learned, P places of a patch

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from selection.chosen_places import ChosenPlaces, straight_through
from selection.learned_places import LearnedPlaces, feature_layers
from set_module.lazy_images import LazyImages
from set_module.set_batch import SetBatch


class FixedPlaces(LearnedPlaces):
    """PatchCutout whose k-th patch lies at argmax_p l_kp, l = scale * logits_KP, for all images.

    In training, n ~ U{lo..hi} patches lie at argmax_p (l_kp + g), g Gumbel noise that depends on the seed, the epoch,
    the image, k and p alone, and the gradient is that of softmax((l_k + g) / temperature): straight-through, see
    ChosenPlaces. In evaluation mode there is no noise, and a place that an earlier patch has taken is left out, so that
    the first n of more patches are those of n. `most` is K = max(hi, test_count).

    Args:
        scale: a step of an optimizer such as Adam changes a score by scale times the learning rate.
        read: whether the places are learned by a reader, see LearnedPlaces.
        width: of the two hidden layers of the reader.
        widths: of convolutions before these, each with 2x2 pooling.
    """

    looks_first = False

    def __init__(
        self,
        size: int,
        count: int | Sequence[int],
        seed: int,
        image_size: Sequence[int],
        test_count: int | None = None,
        temperature: Sequence[float] = (1.0, 0.5),
        epochs: int = 1,
        freeze_at: float | None = None,
        scale: float = 10.0,
        read: bool = False,
        width: int = 512,
        widths: Sequence[int] = (),
        channels: int = 1,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        num_outputs: int = 0,
        **facts: Any,
    ) -> None:
        super().__init__(size, count, seed, image_size, test_count, temperature, epochs, freeze_at, "fixed")
        self.scale, self.most = scale, self.largest_count
        self.logits_KP = nn.Parameter(torch.zeros(self.most, self.num_places))
        if read:
            self.keep_facts(channels, mean, std)
            self.trunk = nn.Sequential(*feature_layers(image_size, channels, width, widths))
            self.reader = nn.Linear(width, num_outputs)

    def features(self, pixels_BCHW: Tensor, mask_B1HW: Tensor) -> Tensor:
        features_BD: Tensor = self.trunk(torch.cat([pixels_BCHW * mask_B1HW, mask_B1HW], dim=1))
        return features_BD

    def scores(self, number: int, features_BD: Tensor | None, batch: int) -> Tensor:
        return self.scale * self.logits_KP[number].float().expand(batch, -1)

    def positions(self, images_BCHW: Tensor | LazyImages, index_B: Tensor) -> SetBatch:
        """Return the corners [N, 2]; while places are learned, they are ChosenPlaces."""
        largest = self.checked_count(images_BCHW)
        assert isinstance(images_BCHW, Tensor)
        lengths_B, set_N, number_N, max_len = self.drawn_lengths(index_B)
        sets = SetBatch.trusted(number_N, lengths_B, set_N, max_len)
        if not self.explores:
            return sets.map(lambda number_N: self.order()[:largest].index_select(0, number_N))
        scores_NP = self.scale * self.logits_KP.float().index_select(0, number_N)
        scores_NP = scores_NP + self.noise(index_B.index_select(0, set_N), number_N[:, None])
        choice_NP = straight_through(scores_NP, self.present_temperature)
        return ChosenPlaces.of(choice_NP, sets, images_BCHW, self.size)

    @torch.no_grad()
    def order(self) -> Tensor:
        """Return the corners of the places in the order of choice, [K, 2]."""
        scores_KP, place_K = self.logits_KP.float().clone(), []
        for k in range(len(scores_KP)):
            place_K.append(scores_KP[k].argmax())
            scores_KP[:, place_K[-1]] = -torch.inf
        chosen_K = torch.stack(place_K)
        return torch.stack([chosen_K // self.columns, chosen_K % self.columns], dim=1)
