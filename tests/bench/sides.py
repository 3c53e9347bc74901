"""The two sides: data sets of random bytes in our data path, and the same bytes as the usual template reads them."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torchmetrics
from tasks import classification
from timing import CPU, seconds
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10, MNIST

from adapter import lightning
from callback.progress import ProgressBar
from datamodule.image import ImageDataModule
from datamodule.loader import MemorySource
from logger.metrics_csv import MetricsCSV
from model import TaskModule

BATCH = 128


class Noise(ImageDataModule):
    """Random images for training, in the place of a data set of a config: their content costs no time."""

    class_names = [str(label) for label in range(10)]

    def __init__(self, count: int, **settings: Any) -> None:
        super().__init__(**settings)
        torch.manual_seed(0)
        self.images = torch.randint(0, 256, (count, self.channels, *self.image_size), dtype=torch.uint8)
        self.labels_N = torch.randint(0, 10, (count,))

    def load(self, part: str) -> MemorySource | None:
        return MemorySource(self.images, self.labels_N) if part == "train" else None


class RandomBytes(Noise):
    """Random images with all settings but these."""

    def __init__(self, shape: tuple[int, int, int], count: int, augmented: bool = False, workers: int = 0) -> None:
        super().__init__(
            count,
            num_classes=10,
            channels=shape[0],
            image_size=shape[1:],
            mean=[0.5],
            std=[0.5],
            batch_size=BATCH,
            seed=0,
            split_seed=0,
            valid=0,
            fold=None,
            num_folds=5,
            limit_train=None,
            balanced=False,
            num_workers=workers,
            crop_padding=4 if augmented else 0,
            flip=augmented,
        )


class Shuffled:
    """The batches of a plain loop whose data set is two tensors on the device."""

    def __init__(self, data: Noise, device: torch.device) -> None:
        self.images, self.labels = data.images.to(device), data.labels_N.to(device)
        self.augment = data.augment and data.augment.to(device)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(len(self.labels), device=self.labels.device).split(BATCH):
            images = self.images[index]
            yield images if self.augment is None else self.augment(images, index, 0), self.labels[index]


def plain_epoch(network: nn.Module, batches: Iterable[Any], device: torch.device = CPU) -> float:
    """Train for two epochs in a plain loop, and return the seconds of the second."""
    loss, step = nn.CrossEntropyLoss(), optimizer()(network.parameters(), lr=1e-3, fused=True)

    def epoch() -> None:
        for images, labels, *_ in batches:
            value = loss(network(images), labels)
            step.zero_grad()
            value.backward()
            step.step()

    epoch()
    return seconds(epoch, device)


def usual_loader(data: RandomBytes, count: int) -> DataLoader:
    """Return a shuffling DataLoader of torchvision's data set class on the same bytes, with the usual transforms."""
    gray = data.channels == 1
    steps = (
        [] if data.augment is None else [transforms.RandomCrop(data.image_size, 4), transforms.RandomHorizontalFlip()]
    )
    steps += [transforms.ToTensor(), transforms.Normalize([0.5] * data.channels, [0.5] * data.channels)]
    usual = (MNIST if gray else CIFAR10).__new__(MNIST if gray else CIFAR10)  # without looking for files
    usual.data = data.images[:count, 0] if gray else data.images[:count].permute(0, 2, 3, 1).contiguous().numpy()
    usual.targets = data.targets[:count] if gray else data.targets[:count].tolist()
    usual.transform, usual.target_transform = transforms.Compose(steps), None
    return DataLoader(usual, BATCH, shuffle=True)


def optimizer() -> partial[torch.optim.Optimizer]:
    return partial(torch.optim.Adam)


def our_model(network: nn.Module) -> TaskModule:
    accuracy = torchmetrics.classification.MulticlassAccuracy(10, average="micro")
    return TaskModule(network, classification({"accuracy": accuracy}), lr=1e-3, optimizer=optimizer())


class UsualModel(pl.LightningModule):
    """A LightningModule as templates have it: metric objects and self.log on every step, default optimizer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.criterion = network, nn.CrossEntropyLoss()
        self.train_accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=10)
        self.train_loss = torchmetrics.MeanMetric()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        images, labels = batch
        logits = self.network(images)
        loss = self.criterion(logits, labels)
        self.train_loss(loss)
        self.train_accuracy(logits.argmax(dim=1), labels)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("train/accuracy", self.train_accuracy, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def trainer(epochs: int, *callbacks: pl.Callback, ours: bool, accelerator: str = "cpu") -> pl.Trainer:
    folder = tempfile.mkdtemp()
    tensorboard = pl.loggers.TensorBoardLogger(folder)
    return pl.Trainer(
        accelerator=accelerator,
        devices=1,
        max_epochs=epochs,
        default_root_dir=folder,
        logger=[tensorboard, MetricsCSV(folder)] if ours else [tensorboard, pl.loggers.CSVLogger(folder)],
        callbacks=[*callbacks, ProgressBar() if ours else pl.callbacks.RichProgressBar()],
        profiler=lightning.no_profiler() if ours else None,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def quiet() -> None:
    """Draw the progress bars, but not on this terminal."""
    import rich

    rich.reconfigure(file=Path(os.devnull).open("w"), force_terminal=True)  # noqa: SIM115
