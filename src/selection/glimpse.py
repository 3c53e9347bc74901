"""Places that are chosen one after the other, each from what the earlier patches have shown."""

# B images, N patches in all, P places of a patch, C H W of an image

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from selection.chosen_places import ChosenPlaces, gumbel, straight_through
from selection.coverage import coverage
from selection.learned_places import LearnedPlaces
from set_module.lazy_images import LazyImages
from set_module.set_batch import SetBatch


class Glimpses(LearnedPlaces):
    """PatchCutout whose k-th patch lies at argmax_p s_p, s = select(image, mask of the k - 1 patches before), [B, P].

    The scores are those of an MLP of [m x, m], x the normalised image and m 1 where it was seen: of nothing else. In
    training, Gumbel noise that depends on the seed, the epoch, the image, k and p alone is added, and the gradient is
    straight-through, see ChosenPlaces: the loss of the network reaches all choices, and through the masks each earlier
    one. In evaluation mode there is no noise, and a place that an earlier patch has taken is left out, so that the
    first n of more patches are those of n. `width` is that of the two hidden layers.
    """

    mean: Tensor
    std: Tensor

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
        **facts: Any,
    ) -> None:
        super().__init__(size, count, seed, image_size, test_count, temperature, epochs, freeze_at, "glimpse")
        pixels = (channels + 1) * image_size[0] * image_size[1]
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(list(values)).expand(channels).reshape(-1, 1, 1).clone())
        self.policy = nn.Sequential(
            *(nn.Flatten(), nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()),
            nn.Linear(width, self.num_places),
        )

    def select(self, images_BCHW: Tensor, mask_B1HW: Tensor) -> Tensor:
        """Return the score of each place for the next patch, float32 or 64 [B, P]; only what the mask shows is read."""
        pixels = (images_BCHW.to(self.mean.dtype) / 255 - self.mean) / self.std
        mask = mask_B1HW.to(pixels.dtype)
        scores_BP: Tensor = self.policy(torch.cat([pixels * mask, mask], dim=1))
        return scores_BP if scores_BP.dtype == torch.double else scores_BP.float()

    def positions(self, images_BCHW: Tensor | LazyImages, index_B: Tensor) -> SetBatch:
        """Return the corners [N, 2]; while places are learned, they are ChosenPlaces."""
        most = self.checked_count(images_BCHW)
        assert isinstance(images_BCHW, Tensor)
        lengths_B, set_N, number_N, max_len = self.drawn_lengths(index_B)
        sets = SetBatch.trusted(number_N, lengths_B, set_N, max_len)
        with nullcontext() if self.explores else torch.no_grad():
            choice_BKP = self._choices(images_BCHW, index_B, most)
        choice_NP = choice_BKP.flatten(0, 1).index_select(0, set_N * most + number_N)
        chosen = ChosenPlaces.of(choice_NP, sets, images_BCHW, self.size)
        return chosen if self.explores else sets.with_values(chosen.values)

    def _choices(self, images_BCHW: Tensor, index_B: Tensor, most: int) -> Tensor:
        """Return the choice of each of `most` places for each image, [B, K, P]."""
        place_P, chosen = torch.arange(self.num_places, device=index_B.device), list[Tensor]()
        mask_B1HW = images_BCHW.new_zeros(len(images_BCHW), 1, *images_BCHW.shape[2:], dtype=torch.float32)
        for k in range(most):
            scores_BP = self.select(images_BCHW, mask_B1HW)
            if self.explores:
                noise_BP = gumbel(self.seed, self.present_epoch, index_B[:, None], 1 + k * self.num_places + place_P)
                chosen.append(straight_through(scores_BP + noise_BP, self.present_temperature))
            else:
                taken_BP = torch.stack(chosen, dim=1).sum(1) > 0 if chosen else torch.zeros_like(scores_BP).bool()
                chosen.append(straight_through(scores_BP.masked_fill(taken_BP, -torch.inf), 1.0))
            if k + 1 < most:
                mask_B1HW = self._seen(torch.stack(chosen, dim=1), images_BCHW)
        return torch.stack(chosen, dim=1)

    def _seen(self, choice_BKP: Tensor, images_BCHW: Tensor) -> Tensor:
        batch, number = choice_BKP.shape[:2]
        lengths_B = torch.full((batch,), number, device=choice_BKP.device)
        index_N = torch.arange(batch, device=choice_BKP.device).repeat_interleave(number)
        sets = SetBatch.trusted(index_N, lengths_B, index_N, number)
        chosen = ChosenPlaces.of(choice_BKP.flatten(0, 1), sets, images_BCHW, self.size)
        return coverage(chosen, self.size, images_BCHW.shape[2:])
