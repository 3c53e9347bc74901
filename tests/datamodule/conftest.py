"""A tiny data set in memory, whose pixels are the image's position, and the settings that every data module needs."""

from collections import Counter
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer

from datamodule import image_folder
from datamodule.image import ImageDataModule
from datamodule.loader import MemorySource, Source


class Counting(ImageDataModule):
    """23 training and 7 test images of 1 x 2 x 3 pixels: every pixel of image i is i, its label i % 3."""

    sizes = {"train": 23, "test": 7}

    @property
    def class_names(self) -> list[str]:
        return ["a", "b", "c"]

    def load(self, part: str) -> Source | None:
        if part not in self.sizes:
            return None
        position = torch.arange(self.sizes[part])
        images = position.to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 3).contiguous()
        return MemorySource(images, position % 3)


@pytest.fixture
def settings() -> dict[str, Any]:
    return {
        "num_classes": 3,
        "channels": 1,
        "image_size": [2, 3],
        "mean": [0.5],
        "std": [0.5],
        "batch_size": 4,
        "seed": 0,
        "split_seed": 0,
        "valid": 5,
        "fold": None,
        "num_folds": 5,
        "limit_train": None,
        "balanced": False,
        "num_workers": None,
        "crop_padding": 0,
        "flip": False,
    }


@pytest.fixture
def counting(settings):
    """Build the tiny data module with other settings."""
    return lambda **changes: Counting(**settings | changes)


@pytest.fixture
def count(monkeypatch):
    """Count how often each file is decoded."""
    counts = Counter()
    original = image_folder.FileSource.image

    def image(self, i):
        counts[self.names[i]] += 1
        return original(self, i)

    monkeypatch.setattr(image_folder.FileSource, "image", image)
    return counts


@pytest.fixture
def trainer(tmp_path):
    def build(**settings):
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        defaults = {"accelerator": "cpu", "enable_checkpointing": False, "default_root_dir": tmp_path}
        return Trainer(**quiet | defaults | {"max_epochs": 3} | settings)

    return build
