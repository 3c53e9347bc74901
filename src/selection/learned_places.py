"""The base class of selections that learn their places."""

# B images, P places of a patch, R rows and X columns of them, C H W of an image, n patches of it, D features,
# K outputs

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from selection.chosen_places import ChosenPlaces, gumbel, straight_through
from selection.coverage import coverage
from set_module.lazy_images import LazyImages
from set_module.patch_cutout import PatchCutout, places
from set_module.set_batch import SetBatch


class Look(NamedTuple):
    """State after one more patch: its scores and choice [B, P], the mask [B, 1, H, W] and the features [B, D].

    `before` are the features before the choice, by which it was made; None if no feature was asked for.
    """

    scores: Tensor
    choice: Tensor
    mask: Tensor
    features: Tensor
    before: Tensor | None


class LearnedPlaces(PatchCutout):
    """PatchCutout of images of one size that learns its places, of which none is taken twice in evaluation mode.

    `most` is the largest number of patches that it can take of an image, by default that of places. Raises ValueError
    for more patches than places, for a temperature that is not two numbers > 0, and for `freeze_at` outside of 0..1.

    With a `reader`, places are learned by its loss: it is an MLP that answers after each patch from [m x, m], x the
    normalised image and m 1 where it was seen. A step then learns from all numbers of patches 1..hi of each image, at
    a small part of what a CNN would cost. See `training_loss`, which networks that have a reader call.

    Args:
        temperature: of the softmax whose gradient the choice has, at the first and at the last epoch that learns
            places, in between in geometric steps.
        epochs: number of epochs of the training.
        freeze_at: share of the epochs after which places are no longer learned: the network then trains on those of
            evaluation mode, in numbers as before, and the selection gets no gradient. None: they are learned to the
            end. At least the first epoch learns places.
    """

    mean: Tensor
    std: Tensor
    looks_first = True  # whether the first place depends on features, which are then those of an empty mask
    reader: nn.Module | None  # features [B, D] -> outputs [B, K]

    def __init__(
        self,
        size: int,
        count: int | Sequence[int],
        seed: int,
        image_size: Sequence[int],
        test_count: int | None,
        temperature: Sequence[float],
        epochs: int,
        freeze_at: float | None,
        mode: str,
    ) -> None:
        super().__init__(size, count, seed, "random", False, test_count)
        if len(temperature) != 2 or min(temperature) <= 0:
            raise ValueError(f"temperature={list(temperature)}: give two numbers > 0, of the first and the last epoch")
        if freeze_at is not None and not 0 < freeze_at < 1:
            raise ValueError(f"{freeze_at=}: choose a share of the epochs between 0 and 1, such as 0.5, or null")
        self.reader = None
        self.mode, self.temperature = mode, tuple(temperature)
        self.learning_epochs = epochs if freeze_at is None else max(1, round(freeze_at * epochs))
        self.freezes = freeze_at is not None
        self.rows, self.columns = places([1, 1, *image_size], size)
        self.num_places = self.most = self.rows * self.columns
        if self.largest_count > self.num_places:
            raise ValueError(f"patch_num={self.largest_count} exceeds the {self.num_places} places: choose fewer")

    @property
    def largest_count(self) -> int:
        """Return the largest number of patches in training or evaluation."""
        return max(hi for _, hi in filter(None, (self.train_count, self.test_count)))

    @property
    def present_temperature(self) -> float:
        first, last = self.temperature
        return float(first * (last / first) ** min(1.0, self.epoch / max(1, self.learning_epochs - 1)))

    @property
    def explores(self) -> bool:
        """Return whether places are drawn with noise and learned: in training mode, until they are frozen.

        It follows from the epoch alone, so that a resumed run freezes them where the whole run does.
        """
        return self.training and not (self.freezes and self.epoch >= self.learning_epochs)

    def checked_count(self, images_BCHW: Tensor | LazyImages) -> int:
        """Return the present largest number of patches; raise a ValueError for too many, and for other images."""
        if isinstance(images_BCHW, LazyImages):
            raise ValueError("places are learned from whole images: choose model/selection=random or grid for these")
        assert self.count is not None
        if self.count[1] > self.most:
            raise ValueError(f"patch_num={self.count[1]} exceeds the {self.most} learned places: choose <= {self.most}")
        if places(images_BCHW.shape, self.size) != (self.rows, self.columns):
            height, width = self.rows + self.size - 1, self.columns + self.size - 1
            raise ValueError(f"images of shape {list(images_BCHW.shape)}: the places are of {height}x{width} images")
        return self.count[1]

    @torch.no_grad()
    def next_scores(self, image_CHW: Tensor, corners_n2: Tensor) -> Tensor | None:
        """Return the score of each place for the patch after those at the corners, [R, X]; -inf where one of them lies.

        In evaluation mode the next patch lies at the largest one. None if there is no next patch, or no score of it.
        """
        number = len(corners_n2)
        if number >= self.most:
            return None
        features_1D = None
        if self.looks_first:
            mask_11HW = image_CHW.new_zeros(1, 1, *image_CHW.shape[1:], dtype=torch.float32)
            if number:
                mask_11HW = coverage(SetBatch(corners_n2, [number]), self.size, image_CHW.shape[1:])
            features_1D = self.features(self.normalised(image_CHW[None]), mask_11HW)
        place_n = corners_n2[:, 0] * self.columns + corners_n2[:, 1]
        scores_P = self.scores(number, features_1D, 1)[0]
        return scores_P.index_fill(0, place_n, -torch.inf).view(self.rows, self.columns)

    def keep_facts(self, channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        """Register the mean and the standard deviation of the images, by which `seen` normalises them."""
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(list(values)).expand(channels).reshape(-1, 1, 1).clone())

    def normalised(self, images_BCHW: Tensor) -> Tensor:
        return (images_BCHW.to(self.mean.dtype) / 255 - self.mean) / self.std

    def features(self, pixels_BCHW: Tensor, mask_B1HW: Tensor) -> Tensor:
        """Return the features [B, D] of what the mask shows of normalised images."""
        raise NotImplementedError

    def scores(self, number: int, features_BD: Tensor | None, batch: int) -> Tensor:
        """Return the scores [B, P] of the place of patch `number` = 0, 1, ..."""
        raise NotImplementedError

    def chosen(self, noisy_BP: Tensor) -> Tensor:
        """Return the choice [B, P] by scores with Gumbel noise."""
        return straight_through(noisy_BP, self.present_temperature)

    def looks(self, images_BCHW: Tensor, index_B: Tensor) -> Iterator[Look]:
        """Yield what is known after each of hi patches, chosen with the noise of training mode."""
        most, batch = self.checked_count(images_BCHW), len(images_BCHW)
        pixels_BCHW = self.normalised(images_BCHW)
        mask_B1HW = pixels_BCHW.new_zeros(batch, 1, *pixels_BCHW.shape[2:])
        features_BD = self.features(pixels_BCHW, mask_B1HW) if self.looks_first else None
        for k in range(most):
            scores_BP = self.scores(k, features_BD, batch)
            choice_BP = self.chosen(scores_BP + self.noise(index_B, k))
            seen_B1HW = _one_each(choice_BP, images_BCHW, self.size).to(mask_B1HW.dtype)
            mask_B1HW = mask_B1HW + seen_B1HW - mask_B1HW * seen_B1HW
            before_BD, features_BD = features_BD, self.features(pixels_BCHW, mask_B1HW)
            yield Look(scores_BP, choice_BP, mask_B1HW, features_BD, before_BD)

    def noise(self, index_B: Tensor, number: int | Tensor) -> Tensor:
        """Return Gumbel noise [B, P] for patch `number`, a function of (seed, epoch, image index, number, place).

        It may be another of each image, [B, 1].
        """
        place_P = torch.arange(self.num_places, device=index_B.device)
        return gumbel(self.seed, self.present_epoch, index_B[:, None], 1 + number * self.num_places + place_P)

    def training_loss(
        self, images_BCHW: Tensor, targets: Any, index_B: Tensor, loss: Callable[[Tensor, Any], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of the reader, a mean over 1..hi patches, and what these have shown, [B, hi, H, W]."""
        assert self.reader is not None
        looks = list(self.looks(images_BCHW, index_B))
        losses = [loss(self.reader(look.features), targets) for look in looks]
        return torch.stack(losses).mean(), torch.cat([look.mask.detach() for look in looks], dim=1)


def feature_layers(image_size: Sequence[int], channels: int, width: int, widths: Sequence[int]) -> list[nn.Module]:
    """Return the layers that make features [B, width] of images with a mask, [B, C + 1, H, W].

    A 3x3 convolution, 2x2 max pooling and ReLU for each of `widths`, then two hidden layers.
    """
    (rows, columns), layers, inputs = image_size, list[nn.Module](), channels + 1
    for outputs in widths:
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True), nn.ReLU()]
        rows, columns, inputs = -(-rows // 2), -(-columns // 2), outputs
    hidden = [nn.Linear(inputs * rows * columns, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    return [*layers, nn.Flatten(), *hidden]


def _one_each(choice_BP: Tensor, images_BCHW: Tensor, size: int) -> Tensor:
    """Return the mask [B, 1, H, W] of one chosen patch of each image."""
    index_B = torch.arange(len(choice_BP), device=choice_BP.device)
    sets = SetBatch.trusted(index_B, torch.ones_like(index_B), index_B, 1)
    return coverage(ChosenPlaces.of(choice_BP, sets, images_BCHW, size), size, images_BCHW.shape[2:])
