"""Base class of all image data sets: split, loaders and augmentation; a subclass loads the images."""

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from lightning_fabric.utilities.data import suggested_max_num_workers
from pytorch_lightning import LightningDataModule
from pytorch_lightning.overrides.distributed import UnrepeatedDistributedSampler
from torch import Tensor
from torch.utils.data import DataLoader

from datamodule.augment import CropFlip
from datamodule.loader import (
    Batch,
    EpochOrder,
    MemorySource,
    Part,
    ResumableBatches,
    ResumableLoader,
    Source,
    has_room,
    identity_collate,
    split,
    split_hash,
    start_method,
)
from process.errors import UserError

log = logging.getLogger(__name__)

IMBALANCED = 10  # times as many training images of one class as of another

# B items of a batch (images or bags), M items of a part, K classes, C channels, H height, W width


class ImageDataModule(LightningDataModule, ABC):
    """Batches (images_BCHW uint8, labels_B int64, index_B int64), index_B being the position in the source.

    With a BagSource, the inputs are a SetBatch of images, and "image" below means a bag. A subclass defines
    `load(part)` for the parts train, valid and test, and `class_names`. Without a source for valid, validation
    images are split off the training source. The order of the training images is a function of (seed, epoch), their
    augmentation one of (seed, epoch, index). If `balanced`, an epoch has as many images of each class as of any other,
    and index_B is greater by the size of the source for each repetition of an image. A last training batch of one
    image, on which BatchNorm cannot train, is left out; the order decides which image that is. The networks read `mean`
    and `std`.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int,
        image_size: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        batch_size: int,
        seed: int,
        split_seed: int,
        valid: float,
        fold: int | None,
        num_folds: int,
        limit_train: int | None,
        num_workers: int | None,
        crop_padding: int,
        flip: bool,
        balanced: bool = False,  # runs of older versions have no such setting
    ) -> None:
        super().__init__()
        self.num_classes, self.channels, self.image_size = num_classes, channels, (image_size[0], image_size[1])
        self.batch_size, self.seed, self.num_workers = batch_size, seed, num_workers
        self.valid, self.fold, self.num_folds = valid, fold, num_folds
        self.split_seed, self.limit_train, self.balanced = split_seed, limit_train, balanced
        augmented = crop_padding > 0 or flip
        self.augment = CropFlip(self.image_size, crop_padding, flip, seed) if augmented else None
        self._sources: dict[str, Source | None] = {}

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """Return the name of each label, in the order of the labels."""

    @abstractmethod
    def load(self, part: str) -> Source | None:
        """Return the images of "train", "valid" or "test"; None if the data set has no such part."""

    def setup(self, stage: str | None = None) -> None:
        for part in ("test",) if stage == "test" else ("train", "valid"):
            self.source(part)
        if stage != "test" and len(self.class_names) != self.num_classes:
            raise UserError(
                f"{type(self).__name__} has {len(self.class_names)} class names, and "
                f"data.num_classes={self.num_classes}: correct one of them"
            )

    def source(self, part: str) -> Source | None:
        """Return the images of a part; load them at the first call."""
        if part not in self._sources:
            self._sources[part] = source = self.load(part)
            if isinstance(source, MemorySource):
                self._check_facts(part, source)
        return self._sources[part]

    @property
    def has_valid(self) -> bool:
        return self.position("valid") is not None

    @property
    def has_test(self) -> bool:
        return self.source("test") is not None

    def position(self, part: str) -> Tensor | None:
        """Return the sorted positions of the images of a part in their source; None if there is no such part."""
        if self._origin(part) == "train":
            position = self._split[part]
        else:
            source = self.source(part)
            position = torch.arange(0 if source is None else len(source))
        return position if len(position) else None

    def own_index(self, index_B: Tensor) -> Tensor:
        """Return the positions of training images in their source, whichever repetition of an image index_B means."""
        source = self.source("train")
        assert source is not None
        return index_B % len(source)

    def labels(self, part: str) -> Tensor:
        """Return the labels [M] of the images of a part, on the CPU; none if there is no such part."""
        source, position_M = self.source(self._origin(part)), self.position(part)
        if source is None or position_M is None:
            return torch.empty(0, dtype=torch.int64)
        return source.labels.index_select(0, position_M.to(source.labels.device)).cpu()

    def summary(self) -> dict[str, int | str | None]:
        """Return the number of images of each part and a hash of the validation images, for the run's record."""
        positions = {part: self.position(part) for part in ("train", "valid", "test")}
        sizes = {part: 0 if position is None else len(position) for part, position in positions.items()}
        valid = positions["valid"]
        return {**sizes, "split_hash": None if valid is None else split_hash(valid)}

    @cached_property
    def _split(self) -> dict[str, Tensor]:
        train, valid, fold = self.source("train"), self.valid, self.fold
        if train is None:
            raise UserError(f"{type(self).__name__}: load('train') returned None, no training images: check its paths")
        if self.source("valid") is not None:
            valid, fold = 0, None
        parts = split(len(train), valid, fold, self.num_folds, self.split_seed, self.limit_train)
        return dict(zip(("train", "valid"), parts, strict=True))

    def train_dataloader(self) -> DataLoader:
        part, labels_M = self._part("train"), self.labels("train")
        self._report_imbalance(labels_M)
        # not trainer.current_epoch, which in a checkpoint at an epoch's end is not yet increased
        progressed: Any = self.trainer.fit_loop.epoch_progress.current if self.trainer else None
        ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        labels = labels_M if self.balanced else None
        order = EpochOrder(len(part), self.seed, progressed.processed if self.trainer else 0, *ranks, labels)
        single = len(order) > self.batch_size > 1 and len(order) % self.batch_size == 1
        batches = ResumableBatches(order, self.batch_size, drop_last=single)
        batches.device = part.position_M.device

        def progress() -> tuple[int, int]:
            assert self.trainer is not None
            loop: Any = self.trainer.fit_loop
            epoch, within = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
            # between two epochs, Lightning's count of batches is still that of the finished epoch
            batches = within.processed if epoch.started > epoch.processed else 0
            complete, batch = divmod(batches, int(self.trainer.num_training_batches))
            return epoch.processed + complete, batch

        return ResumableLoader(part, progress, batch_sampler=batches, **self._loader_settings(part))

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.ordered_dataloader("valid") if self.has_valid else _none()

    def test_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.ordered_dataloader("test") if self.has_test else _none()

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the three tensors; Lightning's own would search nested collections for tensors at every step."""
        return tuple(part.to(device, non_blocking=True) for part in batch)  # type: ignore[return-value]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if self.augment is None or self.trainer is None or not self.trainer.training:
            return batch
        images_BCHW, labels_B, index_B = batch
        assert isinstance(images_BCHW, Tensor)  # data sets of bags refuse augmentation
        if self.augment.offsets.device != images_BCHW.device:
            self.augment.to(images_BCHW.device)
        return self.augment(images_BCHW, index_B, self.trainer.current_epoch), labels_B, index_B

    def _origin(self, part: str) -> str:
        """Return the part whose source holds the images: validation images may be split off those of training."""
        return "train" if part == "valid" and self.source(part) is None else part

    def _part(self, name: str) -> Part:
        """Return the images of a part, moved to the device if they fit there and no workers read them."""
        origin = self._origin(name)
        source, position = self.source(origin), self.position(name)
        assert source is not None
        assert position is not None
        if isinstance(source, MemorySource) and not self.num_workers:
            if source.labels.device != self._device and has_room(source, self._device):
                source = self._sources[origin] = source.to(self._device)
            position = position.to(source.labels.device)
        return Part(source, position, repeats=self.balanced and name == "train")

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def ordered_dataloader(self, name: str) -> DataLoader:
        """Return the batches of a part in the order of its images, each image once; ranks take turns."""
        part = self._part(name)
        sampler = None
        if self.trainer is not None and self.trainer.world_size > 1:
            # Lightning's own sampler gives some images to two ranks, to make equal shares, and counts them twice
            ranks = {"num_replicas": self.trainer.world_size, "rank": self.trainer.global_rank}
            sampler = UnrepeatedDistributedSampler(part, shuffle=False, **ranks)
        return DataLoader(part, self.batch_size, sampler=sampler, **self._loader_settings(part))

    def _loader_settings(self, part: Part) -> dict[str, Any]:
        in_memory = isinstance(part.source, MemorySource)
        workers = self.num_workers
        if workers is None:
            workers = 0 if in_memory else suggested_max_num_workers(self.trainer.num_devices if self.trainer else 1)
        if in_memory or workers:
            # Lightning advises more workers, which data in memory do not need and a user who has set them does not want
            warnings.filterwarnings("ignore", ".* does not have many workers")
        return {
            "collate_fn": identity_collate,
            # each iterator draws a seed for its workers, which must not change torch's global random state
            "generator": torch.Generator(),
            "num_workers": workers,
            "multiprocessing_context": start_method(workers),
            "persistent_workers": workers > 0,
            "pin_memory": self._device.type == "cuda" and part.position_M.device.type == "cpu",
        }

    def _report_imbalance(self, labels_M: Tensor) -> None:
        """Log a line if some classes have no training image, or many times fewer than others."""
        count_K = torch.bincount(labels_M, minlength=self.num_classes)
        empty = (count_K == 0).nonzero().flatten().tolist()
        if empty:
            name = self.class_names[empty[0]]
            log.info(f"{len(empty)} of {len(count_K)} classes have no training image, such as {name!r}")
        few, many = (int(k) for k in (count_K.where(count_K > 0, len(labels_M) + 1).argmin(), count_K.argmax()))
        if not self.balanced and count_K[many] >= IMBALANCED * count_K[few]:
            counts = " and ".join(f"{count_K[k]:,} images of {self.class_names[k]!r}" for k in (many, few))
            log.info(f"training has {counts}: data.balanced=true shows the network all classes equally often")

    def _check_facts(self, part: str, source: MemorySource) -> None:
        shape, expected = tuple(source.images_NCHW.shape[1:]), (self.channels, *self.image_size)
        if shape != expected:
            raise UserError(
                f"the {part} images are {shape} (channels, height, width), data.channels and data.image_size "
                f"say {expected}: correct these"
            )
        for name, tensor, kind in (("images", source.images_NCHW, torch.uint8), ("labels", source.labels, torch.int64)):
            if tensor.dtype != kind:
                raise UserError(f"the {part} {name} are {tensor.dtype}: load() must give {kind}")
        least, most = int(source.labels.min()), int(source.labels.max())
        if least < 0 or most >= self.num_classes:
            raise UserError(
                f"the {part} labels are {least} to {most}, and data.num_classes={self.num_classes} asks for labels "
                f"from 0 to {self.num_classes - 1}: correct one of them"
            )


def _none() -> list[DataLoader]:
    """Return no loaders, so that Lightning skips the stage, and silence its warning, as this is intended."""
    warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero")
    return []
