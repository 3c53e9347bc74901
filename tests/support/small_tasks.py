"""Small data sets of all tasks, of digits or random vectors, and the arguments that choose them."""

from typing import Any

import torch

from datamodule.data_module import DataModule
from datamodule.digits import Digits
from datamodule.loader import MemorySource, SetSource, Source
from set_module.set_batch import SetBatch


class Brightness(Digits):
    """The mean grey level of each image, in 0 ... 1; [mean, 1 - mean] if target_shape is [2]."""

    @property
    def class_names(self) -> list[str]:
        return []

    def load(self, part: str) -> Source | None:
        source = super().load(part)
        if source is None:
            return None
        assert isinstance(source, MemorySource)
        mean_N = source.images_NCHW.float().mean((1, 2, 3)) / 255
        targets = torch.stack([mean_N, 1 - mean_N], dim=1) if self.target_shape == (2,) else mean_N
        return MemorySource(source.images_NCHW, targets)


class DarkRows(Brightness):
    """The number of rows of each image whose mean is below 64."""

    def load(self, part: str) -> Source | None:
        source = super().load(part)
        if source is None:
            return None
        assert isinstance(source, MemorySource)
        return MemorySource(source.images_NCHW, (source.images_NCHW.float().mean((1, 3)) < 64).sum(1).float())


class Properties(Digits):
    """Three labels of each digit: even, prime, above 4."""

    @property
    def class_names(self) -> list[str]:
        return ["even", "prime", "above 4"]

    def load(self, part: str) -> Source | None:
        source = super().load(part)
        if source is None:
            return None
        assert isinstance(source, MemorySource)
        digit_N = source.targets
        assert isinstance(digit_N, torch.Tensor)
        prime_N = torch.isin(digit_N, torch.tensor([2, 3, 5, 7]))
        return MemorySource(source.images_NCHW, torch.stack([digit_N % 2 == 0, prime_N, digit_N > 4], dim=1).float())


class Points(DataModule):
    """Sets of 3 to 6 vectors with a target: the largest first feature, one of two classes, or nothing.

    Args:
        asked: `value`, `class`, `nothing`.
    """

    def __init__(self, asked: str, components: int | None = None, **settings: Any) -> None:
        super().__init__(**settings)  # components: a fact for the task alone
        self.asked = asked

    @property
    def class_names(self) -> list[str]:
        return ["left", "right"] if self.asked == "class" else []

    def load(self, part: str) -> Source | None:
        generator = torch.Generator().manual_seed({"train": 1, "valid": 2, "test": 3}[part])
        lengths_B = torch.randint(3, 7, (160 if part == "train" else 40,), generator=generator)
        assert self.features is not None
        values_NF = torch.randn(int(lengths_B.sum()), self.features, generator=generator)
        sets = SetBatch(values_NF, lengths_B)
        first_B = torch.stack([set_NF[:, 0].max() for set_NF in sets])
        targets = {"value": first_B, "class": (first_B > 1).long(), "nothing": torch.empty(len(sets), 0)}
        return SetSource(sets, targets[self.asked])


NO_CLASSES = ("data.num_classes=null",)
OF_POINTS = (
    "data._target_=small_tasks.Points",
    "data.channels=null",
    "data.image_size=null",
    "data.mean=[0.0]",
    "data.std=[1.0]",
    "hparams.patch_size=null",
)
ARGUMENTS = {
    "regression": ("task=regression", "data._target_=small_tasks.Brightness", "+data.target_shape=[]", *NO_CLASSES),
    "two values": ("task=regression", "data._target_=small_tasks.Brightness", "+data.target_shape=[2]", *NO_CLASSES),
    "count": ("task=count", "data._target_=small_tasks.DarkRows", "+data.target_shape=[]", *NO_CLASSES),
    "multilabel": ("task=multilabel", "data._target_=small_tasks.Properties", "data.num_classes=3"),
    "points": (
        "task=regression",
        "+data.asked=value",
        "+data.features=2",
        "+model.network.features=2",
        "+data.target_shape=[]",
        *NO_CLASSES,
        *OF_POINTS,
    ),
    "classes of vectors": (
        "+data.asked=class",
        "+data.features=5",
        "+model.network.features=5",
        "data.num_classes=2",
        *OF_POINTS,
    ),
    "mixture": (
        "task=clustering",
        "+data.asked=nothing",
        "+data.features=2",
        "+model.network.features=2",
        "+data.components=2",
        "hparams.monitor=valid_log_likelihood",
        "hparams.monitor_mode=max",
        *NO_CLASSES,
        *OF_POINTS,
    ),
}


def arguments(task: str) -> list[str]:
    """Return what chooses a data set of the task, and a training of a second on it."""
    return ["data=digits", *ARGUMENTS[task], "hparams.max_epochs=1", "hparams.patch_num_max=8", "loggers=none"]
