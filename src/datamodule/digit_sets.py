"""Sets of MNIST digits without end: their sum, how many different ones there are, and which."""

from typing import Any

import torch
from torch import Tensor

from datamodule.generated_sets import GeneratedSets
from datamodule.image import ImageDataModule
from datamodule.loader import BagSource, MemorySource, Targets
from datamodule.torchvision_set import mnist
from process.errors import UserError
from set_module.reduce import set_max, set_sum
from set_module.set_batch import SetBatch

# B sets, N elements in all, M images of MNIST, K = 10 classes

CLASSES = 10  # of MNIST


class DigitSets(GeneratedSets, ImageDataModule):
    """Base class: sets of images [1, 28, 28] of MNIST; a subclass draws the digits and says what the target is.

    Training sets are drawn from MNIST's training images without those that data.valid (or fold) holds out for the
    validation sets; test sets from its test images. The images of a set may repeat.
    """

    def __init__(
        self,
        *,
        root: str,
        fold: int | None,
        limit_train: int | None,
        **settings: Any,
    ) -> None:
        super().__init__(fold=None, limit_train=None, **settings)
        self.images = mnist(root, settings | {"fold": fold, "limit_train": limit_train})
        self._parts: dict[str, ImagesByClass] = {}

    def prepare_data(self) -> None:
        self.images.prepare_data()

    def draw(self, generator: torch.Generator, lengths_B: Tensor, part: str) -> tuple[SetBatch, Targets]:
        """Return the positions of the images, int64 [N], and the targets."""
        digits = self.digits(generator, lengths_B)
        return digits.map(lambda digit_N: self._of(part).draw(digit_N, generator)), self.answer(digits)

    def table(self, sets: SetBatch, targets: Targets, part: str) -> BagSource:
        return BagSource(self._of(part).images_NCHW, sets, targets)

    def digits(self, generator: torch.Generator, lengths_B: Tensor) -> SetBatch:
        """Return the digits of sets, int64 [N]: by default, all are equally likely."""
        return SetBatch(torch.randint(CLASSES, (int(lengths_B.sum()),), generator=generator), lengths_B)

    def answer(self, digits: SetBatch) -> Tensor:
        """Return the targets of sets of digits, int64 [N]."""
        raise NotImplementedError

    def _of(self, part: str) -> "ImagesByClass":
        if part not in self._parts:
            held_out = part == "valid" and self.images.has_valid
            source = self.images.source("test" if part == "test" else "train")
            position_M = self.images.position("test" if part == "test" else "valid" if held_out else "train")
            assert isinstance(source, MemorySource)
            assert position_M is not None
            self._parts[part] = ImagesByClass(source, position_M)
        return self._parts[part]


class ImagesByClass:
    """The images of one part of MNIST, from which one of a given class can be drawn."""

    def __init__(self, source: MemorySource, position_M: Tensor) -> None:
        assert isinstance(source.targets, Tensor)
        label_M = source.targets.index_select(0, position_M)
        self.images_NCHW, self.position_M = source.images_NCHW, position_M[label_M.argsort(stable=True)]
        self.count_K = label_M.bincount(minlength=CLASSES)
        if (absent := (self.count_K == 0).nonzero()).numel():
            raise UserError(
                f"no image of the digit {int(absent[0])} is left to draw: use more images, data.limit_train"
            )
        self.first_K = self.count_K.cumsum(0) - self.count_K

    def draw(self, digit_N: Tensor, generator: torch.Generator) -> Tensor:
        """Return the position of a random image of each digit."""
        share_N = torch.rand(len(digit_N), generator=generator, dtype=torch.float64)
        place_N = (share_N * self.count_K.index_select(0, digit_N)).long() + self.first_K.index_select(0, digit_N)
        return self.position_M.index_select(0, place_N)


class DigitSum(DigitSets):
    """Sets of digits whose sum is asked for, float32 [B]. Zaheer et al. 2017, arXiv:1703.06114, section 4.1.2."""

    def answer(self, digits: SetBatch) -> Tensor:
        return set_sum(digits.map(lambda digit_N: digit_N.float()[:, None]))[:, 0]


class UniqueDigits(DigitSets):
    """Sets of digits in which the number of different digits is asked for, float32 [B].

    This number c is uniform in 1..min(n, 10) for a set of n: c random classes, one digit of each, and n - c digits of
    these classes. As the characters of Omniglot in Lee et al. 2019, arXiv:1810.00825, section 5.2.
    """

    def digits(self, generator: torch.Generator, lengths_B: Tensor) -> SetBatch:
        sets = SetBatch(torch.rand(int(lengths_B.sum()), generator=generator, dtype=torch.float64), lengths_B)
        different_B = torch.rand(len(lengths_B), generator=generator, dtype=torch.float64)
        different_N = (different_B * lengths_B.clamp(max=CLASSES)).long().add(1).index_select(0, sets.index)
        class_BK = torch.rand(len(lengths_B), CLASSES, generator=generator).argsort(1)
        number_N = sets.numbers()
        chosen_N = number_N.where(number_N < different_N, (sets.values * different_N).long())
        return sets.with_values(class_BK[sets.index, chosen_N])

    def answer(self, digits: SetBatch) -> Tensor:
        return _present(digits).sum(1)


class DigitsInBag(DigitSets):
    """Sets of digits with a label for each digit that is among them, float32 rows [B, 10] of 0 and 1."""

    @property
    def class_names(self) -> list[str]:
        return [str(digit) for digit in range(CLASSES)]

    def answer(self, digits: SetBatch) -> Tensor:
        return _present(digits)


def _present(digits: SetBatch) -> Tensor:
    """Return 1 where a set has the digit, else 0, float32 [B, 10]."""
    return set_max(digits.map(lambda digit_N: torch.nn.functional.one_hot(digit_N, CLASSES).float()))
