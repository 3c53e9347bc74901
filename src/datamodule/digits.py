"""The 8x8 digits of scikit-learn: a data set that needs no download."""

import torch

from datamodule.image import ImageDataModule
from datamodule.loader import MemorySource, Source


class Digits(ImageDataModule):
    """Images of sklearn.datasets.load_digits, grey levels 0..16 scaled to 0..255.

    scikit-learn defines no test set: every fifth image of each class is a test image, independent of all seeds.
    """

    @property
    def class_names(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def load(self, part: str) -> Source | None:
        from sklearn.datasets import load_digits

        if part == "valid":
            return None
        digits = load_digits()
        images_NCHW = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8)[:, None]
        labels_N = torch.from_numpy(digits.target).long()
        # number of each image within its class: 1, 2, ...
        rank_N = torch.nn.functional.one_hot(labels_N).cumsum(0).gather(1, labels_N[:, None])[:, 0]
        chosen_N = (rank_N % 5 == 0) == (part == "test")
        return MemorySource(images_NCHW[chosen_N], labels_N[chosen_N])
