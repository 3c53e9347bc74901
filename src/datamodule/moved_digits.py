"""MNIST digits without end at random places of a larger image, among pieces of other digits."""

from typing import Any

import torch
from torch import Tensor

from datamodule.generated_sets import GeneratedSets
from datamodule.image import ImageDataModule
from datamodule.loader import MemorySource, Targets
from datamodule.torchvision_set import mnist
from process.errors import UserError
from set_module.set_batch import SetBatch

# B images, M images of MNIST that a part may draw, H W of an image, F = 3 + 5 pieces numbers that describe one

DIGIT = 28  # pixels a side


class MovedDigits(GeneratedSets, ImageDataModule):
    """Black images [1, H, W] with one digit of MNIST at a random place, and `pieces` squares cut out of others.

    Piece and digit: each image of MNIST, each place where it lies within the image, and each square of `piece_size`
    pixels a side are equally likely; where they overlap, the brighter pixel is seen. The target is the label of the
    whole digit. Mnih et al. 2014, arXiv:1406.6247, sections 4.1 and 4.2.

    New images in each step of training, from MNIST's training images without those that data.valid (or fold) holds out
    for the validation; those of the test come from its test images. Validation and test are always the same images.

    Args:
        steps_per_epoch: batches of an epoch of training, after which a validation may come.
        valid_images: number of images of the validation; likewise test_images.
    """

    def __init__(
        self,
        *,
        root: str,
        pieces: int,
        piece_size: int,
        valid_images: int,
        test_images: int,
        fold: int | None,
        limit_train: int | None,
        **settings: Any,
    ) -> None:
        sizes: dict[str, Any] = {"set_size": (1, 1), "valid_sets": valid_images, "test_sets": test_images}
        super().__init__(fold=None, limit_train=None, **sizes, **settings)
        self.images = mnist(root, settings | {"fold": fold, "limit_train": limit_train})
        self.pieces, self.piece_size = pieces, piece_size
        if min(self.image_size) < DIGIT:
            raise UserError(f"data.image_size={list(self.image_size)}: a digit needs at least {DIGIT} pixels a side")
        if not 1 <= piece_size <= DIGIT:
            raise UserError(f"data.piece_size={piece_size}: choose 1 to {DIGIT}, the side of a digit")

    @property
    def class_names(self) -> list[str]:
        return self.images.class_names

    def prepare_data(self) -> None:
        self.images.prepare_data()

    def draw(self, generator: torch.Generator, lengths_B: Tensor, part: str) -> tuple[SetBatch, Targets]:
        """Return the description of each image, int64 [B, F], and the labels.

        It holds the position in MNIST, row and column of the digit; of each piece its position in MNIST, its row and
        column there, its row and column here.
        """
        source, position_M = self._digits(part)
        height, width = self.image_size
        within, side = DIGIT - self.piece_size + 1, self.piece_size
        of_piece = (len(position_M), within, within, height - side + 1, width - side + 1)
        highest = (len(position_M), height - DIGIT + 1, width - DIGIT + 1, *of_piece * self.pieces)
        drawn = [torch.randint(high, (len(lengths_B),), generator=generator) for high in highest]
        for column in range(3 if self.pieces else len(drawn), len(drawn), 5):
            drawn[column] = position_M.index_select(0, drawn[column])
        drawn[0] = position_M.index_select(0, drawn[0])
        assert isinstance(source.targets, Tensor)
        return SetBatch(torch.stack(drawn, dim=1), lengths_B), source.targets.index_select(0, drawn[0])

    def table(self, sets: SetBatch, targets: Targets, part: str) -> MemorySource:  # type: ignore[override]
        """Return the images that the descriptions say."""
        digits_MHW, recipe_BF = self._digits(part)[0].images_NCHW[:, 0], sets.values
        images_BHW = torch.zeros(len(recipe_BF), *self.image_size, dtype=torch.uint8)
        number, y, x = recipe_BF[:, :3].unbind(1)
        _paste(images_BHW, digits_MHW.index_select(0, number), y, x)
        for first in range(3, recipe_BF.shape[1], 5):
            number, top, left, y, x = recipe_BF[:, first : first + 5].unbind(1)
            rows, columns = (each[:, None] + torch.arange(self.piece_size) for each in (top, left))
            _paste(images_BHW, digits_MHW[number[:, None, None], rows[:, :, None], columns[:, None]], y, x)
        return MemorySource(images_BHW[:, None], targets)

    def sized_dataloader(self, name: str, n: int) -> None:
        """Return None: the items are images, not sets."""
        return

    def _digits(self, part: str) -> tuple[MemorySource, Tensor]:
        """Return MNIST's training or test images, and the positions of those that a part may draw."""
        held_out = part == "valid" and self.images.has_valid
        source = self.images.source("test" if part == "test" else "train")
        position_M = self.images.position("test" if part == "test" else "valid" if held_out else "train")
        assert isinstance(source, MemorySource)
        assert position_M is not None
        return source, position_M


def _paste(images_BHW: Tensor, squares_Bss: Tensor, y_B: Tensor, x_B: Tensor) -> None:
    """Paint a square into each image, in place; the brighter pixel is seen."""
    steps = torch.arange(squares_Bss.shape[1])
    image, row, column = torch.arange(len(y_B))[:, None, None], (y_B[:, None] + steps)[:, :, None], x_B[:, None] + steps
    place = image, row, column[:, None]
    images_BHW[place] = images_BHW[place].maximum(squares_Bss)
