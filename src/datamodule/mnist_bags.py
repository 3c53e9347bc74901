"""MNIST bags, labelled by whether they hold a 9: a data set whose items are sets instead of images."""

from typing import Any

import torch
from torch import Tensor

from datamodule.loader import BagSource, MemorySource, Source
from datamodule.torchvision_set import TorchvisionSet
from set_module.counter_rng import FIXED, random_int
from set_module.set_batch import SetBatch

# N digits, B bags, M digits in all bags

STREAM = 0x42414753  # added to the seed: bags are independent of other random numbers with the same seed
TEST_SEED = -2  # differs from all seeds of training bags, which are >= 0
RESOLUTION = 2**30  # quantiles of the normal distribution from which the size of a bag is drawn


class MNISTBags(TorchvisionSet):
    """Bags of MNIST digits, labelled 1 where `target_digit` is among them: a batch is a SetBatch of [1, 28, 28].

    Ilse et al. 2018, "Attention-based deep multiple instance learning", arXiv:1802.04712, section 4.2. A bag holds
    max(1, round(n)) digits, n ~ Normal(bag_size_mean, bag_size_std), drawn with replacement from MNIST's training
    images (the test bags from its test images), so labels are not balanced: with 10 digits a bag, two of three hold
    a 9. The training bags, of which `valid` is split off, depend on split_seed; the test bags are always the same.
    A smaller number of bags gives the first bags of a larger number. A digit may be in several bags, both of training
    and of validation.
    """

    def __init__(
        self,
        target_digit: int,
        bag_size_mean: float,
        bag_size_std: float,
        train_bags: int,
        test_bags: int,
        **settings: Any,
    ) -> None:
        super().__init__(name="MNIST", **settings)
        self.target_digit, self.train_bags, self.test_bags = target_digit, train_bags, test_bags
        self.bag_size_mean, self.bag_size_std = bag_size_mean, bag_size_std
        self._hits: dict[str, SetBatch] = {}  # part -> which members are the target digit, bool [M]

    @property
    def class_names(self) -> list[str]:
        return [f"without {self.target_digit}", f"with {self.target_digit}"]

    def load(self, part: str) -> Source | None:
        digits = super().load(part)
        if digits is None:
            return None
        assert isinstance(digits, MemorySource)
        assert isinstance(digits.targets, torch.Tensor)
        count, seed = (self.train_bags, self.split_seed) if part == "train" else (self.test_bags, TEST_SEED)
        members = draw_bags(len(digits), count, self.bag_size_mean, self.bag_size_std, seed)
        hit_M = digits.targets.index_select(0, members.values) == self.target_digit
        self._hits[part] = members.with_values(hit_M)
        labels_B = torch.zeros(count, dtype=torch.int64).index_fill(0, members.index[hit_M], 1)
        return BagSource(digits.images_NCHW, members, labels_B)

    def instance_labels(self, part: str) -> list[Tensor]:
        return [] if self.source(part) is None else list(self._hits[part])


def draw_bags(num_digits: int, count: int, mean: float, std: float, seed: int) -> SetBatch:
    """Draw `count` bags: a SetBatch of the positions [M] of their members, below num_digits; a function of the seed."""
    bag_B = torch.arange(count)
    quantile_B = (random_int(RESOLUTION, seed + STREAM, FIXED, bag_B).double() + 0.5) / RESOLUTION
    size_B = (mean + std * torch.special.ndtri(quantile_B)).round().clamp(min=1).long()
    bags = SetBatch(bag_B.repeat_interleave(size_B), size_B)
    return bags.with_values(random_int(num_digits, seed + STREAM, FIXED, bags.index, draw=1 + bags.numbers()))
