"""The base class of selections that learn their places."""

# B images, P places of a patch

from collections.abc import Sequence

from torch import Tensor

from set_module.lazy_images import LazyImages
from set_module.patch_cutout import PatchCutout, places


class LearnedPlaces(PatchCutout):
    """PatchCutout of images of one size that learns its places, of which none is taken twice in evaluation mode.

    `most` is the largest number of patches that it can take of an image, by default that of places. Raises ValueError
    for more patches than places, for a temperature that is not two numbers > 0, and for `freeze_at` outside of 0..1.

    Args:
        temperature: of the softmax whose gradient the choice has, at the first and at the last epoch that learns
            places, in between in geometric steps.
        epochs: number of epochs of the training.
        freeze_at: share of the epochs after which places are no longer learned: the network then trains on those of
            evaluation mode, in numbers as before, and the selection gets no gradient. None: they are learned to the
            end. At least the first epoch learns places.
    """

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
