"""Megapixel MNIST: five digits among scribbles in a large, mostly empty image."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from datamodule.digit_sets import CLASSES, ImagesByClass
from datamodule.image import ImageDataModule
from datamodule.loader import MemorySource, Source, Targets, count_items
from datamodule.stamped import Stamped
from datamodule.torchvision_set import mnist
from process.errors import UserError
from set_module.counter_rng import FIXED, random_int
from set_module.lazy_images import LazyImages

# N images, D = 5 digits of an image, S stamps of an image, K classes, H W of an image, s = 28 side of a stamp

STREAM = 0x4D455041  # added to the seed: images are independent of other random numbers with the same seed
SEEDS = {"train": 0, "valid": 1, "test": -2}  # added to the seed; the test images are the same for every seed
DIGITS, MAJORITY, SIDE = 5, 3, 28
TARGETS = ("majority", "max", "top", "multi")
PATTERNS = 50  # of noise, from which the noise of all images is drawn
SMALLEST = 140  # px: in smaller images there may be no free place left for the fifth digit
ATTEMPTS = 2**16  # of placing a digit, more than are ever needed


class MegapixelMNIST(ImageDataModule):
    """Images with five digits of MNIST, three of one class and two of others, and `noise` scribbles of lines.

    Katharopoulos & Fleuret 2019, arXiv:1905.03711, section 4.2; the four targets are those of Bergner et al. 2023,
    arXiv:2210.13007: `majority`, `max` and `top` (the class of most digits, of the largest and of the topmost digit,
    int64 [B]) and `multi` (which digits there are, rows of 0 and 1, float32 [B, 10]). Digits do not overlap each other
    and cover the noise. An image is a function of its number and of split_seed, one of the test of its number alone;
    a smaller number of images gives the first of a larger number. Training images have digits of MNIST's training
    images without those that data.valid (or fold) holds out for the validation images; test images have those of its
    test images. Raises UserError for images smaller than 140 pixels and for unknown targets.

    Args:
        targets: some of majority,max,top,multi; if one, the targets are those alone, else a dictionary.
        lazy: whether the inputs are LazyImages, of which a network reads patches; else whole images [B, 1, H, W].
    """

    def __init__(
        self,
        *,
        root: str,
        targets: str,
        noise: int,
        lazy: bool,
        train_images: int,
        valid_images: int,
        test_images: int,
        fold: int | None,
        **settings: Any,
    ) -> None:
        super().__init__(fold=None, lazy=lazy, **settings)
        if min(self.image_size) < SMALLEST:
            raise UserError(f"data.image_size={list(self.image_size)}: five digits need at least {SMALLEST} pixels")
        self.names, self.noise = targets.split(","), noise
        if unknown := [name for name in self.names if name not in TARGETS]:
            raise UserError(f"task={unknown[0]}: these data have the tasks {', '.join(TARGETS)}: choose from them")
        self.sizes = {"train": train_images, "valid": valid_images, "test": test_images}
        self.digit_images = mnist(root, settings | {"fold": fold, "limit_train": None})

    @property
    def class_names(self) -> list[str]:
        return [str(digit) for digit in range(CLASSES)]

    def prepare_data(self) -> None:
        self.digit_images.prepare_data()

    def load(self, part: str) -> Source | None:
        if not self.sizes[part]:
            return None
        origin = "test" if part == "test" else "train"
        source = self.digit_images.source(origin)
        position_M = self.digit_images.position("valid" if part == "valid" and self.digit_images.has_valid else origin)
        assert isinstance(source, MemorySource)
        assert position_M is not None
        digits = ImagesByClass(source, position_M)
        seed = SEEDS[part] + (0 if part == "test" else self.split_seed) + STREAM
        number_ND, label_ND = draw_digits(digits, self.sizes[part], seed)
        corners_ND2 = draw_corners(self.sizes[part], self.image_size, seed)
        noise_NS2, pattern_NS = draw_noise(self.sizes[part], self.noise, self.image_size, seed)
        stamps_Kss = torch.cat([patterns(seed), digits.images_NCHW[:, 0]])
        number_NS = torch.cat([pattern_NS, PATTERNS + number_ND], dim=1)  # digits cover the noise
        images = Stamped(stamps_Kss, torch.cat([noise_NS2, corners_ND2], dim=1), number_NS, self.image_size)
        every = answers(label_ND, corners_ND2)
        targets = every[self.names[0]] if len(self.names) == 1 else {name: every[name] for name in self.names}
        return StampedSource(images, targets, self.lazy)


class StampedSource:
    """Source of images that are painted where patches are cut if `lazy`, and else of whole ones."""

    in_threads = True  # a worker process would send all digits of MNIST with each batch

    def __init__(self, images: Stamped, targets: Targets, lazy: bool) -> None:
        self.images, self.targets, self.lazy = images, targets, lazy

    def __len__(self) -> int:
        return count_items(self.targets)

    def inputs(self, index_B: Tensor) -> Tensor | LazyImages:
        items = index_B.tolist()
        return LazyImages(self.images, items) if self.lazy else self.images.whole(items)


def draw_digits(digits: ImagesByClass, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the position of five images of MNIST for each of `count` images, and their labels, int64 [N, 5]."""
    index_N1, draw_D = torch.arange(count)[:, None], 1 + torch.arange(DIGITS)
    label_N1 = random_int(CLASSES, seed, FIXED, index_N1)
    of_label_N1, first_N1, total = digits.count_K[label_N1], digits.first_K[label_N1], int(digits.count_K.sum())
    same_ND = first_N1 + random_int(of_label_N1, seed, FIXED, index_N1, draw_D)
    other_ND = random_int(total - of_label_N1, seed, FIXED, index_N1, draw_D)
    other_ND = other_ND + (other_ND >= first_N1) * of_label_N1  # images are sorted by their labels
    place_ND = torch.where(draw_D <= MAJORITY, same_ND, other_ND)
    label_ND = torch.bucketize(place_ND, digits.first_K + digits.count_K, right=True)
    return digits.position_M[place_ND], label_ND


def draw_corners(count: int, image_size: Sequence[int], seed: int) -> Tensor:
    """Return corners of five digits that do not overlap, int64 [N, 5, 2], all such places being equally likely."""
    corners_ND2, index_N = torch.zeros(count, DIGITS, 2, dtype=torch.int64), torch.arange(count)
    for digit in range(DIGITS):
        left_M, attempt = index_N, 0
        while len(left_M):
            draw = 16 + 2 * (digit * ATTEMPTS + attempt)
            sides = [
                random_int(side - SIDE + 1, seed, FIXED, left_M, draw + axis) for axis, side in enumerate(image_size)
            ]
            corners_ND2[left_M, digit] = torch.stack(sides, dim=1)
            distance_MD2 = (corners_ND2[left_M, :digit] - corners_ND2[left_M, digit, None]).abs()
            left_M, attempt = left_M[(distance_MD2 < SIDE).all(2).any(1)], attempt + 1
    return corners_ND2


def draw_noise(count: int, number: int, image_size: Sequence[int], seed: int) -> tuple[Tensor, Tensor]:
    """Return corners [N, S, 2] of `number` scribbles, none nearer to the edge than its own side, and their patterns."""
    index_N1, draw_S = torch.arange(count)[:, None], 16 + 2 * DIGITS * ATTEMPTS + 3 * torch.arange(number)
    sides = [
        SIDE + random_int(side - 2 * SIDE, seed, FIXED, index_N1, draw_S + axis) for axis, side in enumerate(image_size)
    ]
    return torch.stack(sides, dim=2), random_int(PATTERNS, seed, FIXED, index_N1, draw_S + 2)


def patterns(seed: int) -> Tensor:
    """Return the scribbles, uint8 [50, 28, 28]: each two lines of random slope, a third of the second ones flipped.

    As published: a grey level is uniform in 204..255, pixel by pixel.
    """
    generator = torch.Generator().manual_seed(seed)
    slope_P = torch.tan(torch.rand(PATTERNS, generator=generator, dtype=torch.double) * (math.pi / 2.5))
    lines_Pss = torch.zeros(PATTERNS, SIDE, SIDE)
    for line_ss, slope in zip(lines_Pss, slope_P, strict=True):
        x = torch.linspace(0, min(27.49, 27.49 / float(slope)), 56, dtype=torch.double)
        line_ss[x.round().long(), (slope * x).round().long()] = 1
    second_Pss = lines_Pss[torch.randperm(PATTERNS, generator=generator)]
    for axis in (2, 1):
        flipped_P = torch.rand(PATTERNS, generator=generator) < 0.33
        second_Pss = torch.where(flipped_P[:, None, None], second_Pss.flip(axis), second_Pss)
    grey_Pss = 204 + 51 * torch.rand(PATTERNS, SIDE, SIDE, generator=generator)
    return ((lines_Pss + second_Pss > 0) * grey_Pss).to(torch.uint8)


def answers(label_ND: Tensor, corners_ND2: Tensor) -> dict[str, Tensor]:
    """Return the targets of all four tasks from the labels and the corners of the digits of each image."""
    topmost_N1 = corners_ND2[:, :, 0].argmin(1, keepdim=True)
    return {
        "majority": label_ND[:, 0],
        "max": label_ND.amax(1),
        "top": label_ND.gather(1, topmost_N1)[:, 0],
        "multi": one_hot(label_ND, CLASSES).amax(1).float(),
    }
