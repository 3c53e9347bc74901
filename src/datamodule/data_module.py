"""Base class of all data sets: sources, split, order and loaders; a subclass loads inputs and targets."""

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from inspect import signature
from typing import Any

import torch
from lightning_fabric.utilities.data import suggested_max_num_workers
from pytorch_lightning import LightningDataModule
from pytorch_lightning.overrides.distributed import UnrepeatedDistributedSampler
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodule.loader import (
    Batch,
    EpochOrder,
    MemorySource,
    Part,
    ReadAheadLoader,
    ResumableBatches,
    ResumableLoader,
    SetSource,
    SizedSource,
    Source,
    Targets,
    each_target,
    has_room,
    identity_collate,
    split,
    split_hash,
    start_method,
)
from datamodule.mixing import Mixing
from process.errors import UserError

log = logging.getLogger(__name__)

AHEAD = 2  # batches
IMBALANCED = 10  # times as many training items of one class as of another

# B items of a batch (images, sets), M items of a part, K classes


class DataModule(LightningDataModule, ABC):
    """Batches (inputs, targets, index_B): index_B is int64, the position in the source.

    The inputs are uint8 images [B, C, H, W], LazyImages, or a SetBatch of uint8 images or of float32 vectors [N, F].
    Targets are tensors [B, ...], of any dtype and shape, or a dictionary of them by the names of tasks.

    A subclass defines `load(part)` for the parts train, valid and test, and `class_names` if its targets are classes.
    Without a source for valid, validation items are split off the training source. The order of the training items is
    a function of (seed, epoch). If `balanced`, an epoch has as many items of each class as of any other, and index_B
    is greater by the size of the source for each repetition of an item. A last training batch of one item, on which
    BatchNorm cannot train, is left out; the order decides which item that is. The networks read `mean` and `std`.

    Args:
        num_classes: the number of classes, or of labels in a multi-hot row; None for data without classes.
        target_shape: the shape of a target that is no class; [] is one number per item; None leaves it unchecked.
        channels: of images, and of images in sets; None for vectors.
        image_size: likewise.
        features: the length of a vector; None for images.
        max_elements: larger sets are reduced to so many elements, drawn anew in each epoch of training, and always the
            same in validation and test.
        mix: up to so many elements of bags of class 0 come into each training bag, see Mixing; None: bags as they are.
        mean: of each channel, or of each feature; so is std.
        lazy: whether the inputs are LazyImages, of which a network reads patches; image_size=None: of any size.
    """

    def __init__(
        self,
        *,
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
        num_classes: int | None = None,
        target_shape: Sequence[int] | None = None,
        channels: int | None = None,
        image_size: Sequence[int] | None = None,
        features: int | None = None,
        crop_padding: int = 0,
        flip: bool = False,
        warp: float = 0.0,
        balanced: bool = False,  # runs of older versions have neither this setting nor the next two
        max_elements: int | None = None,
        mix: int | None = None,
        lazy: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes, self.features, self.channels = num_classes, features, channels
        self.target_shape = None if target_shape is None else tuple(target_shape)
        self.image_size = None if image_size is None else (image_size[0], image_size[1])
        self.batch_size, self.seed, self.num_workers = batch_size, seed, num_workers
        self.valid, self.fold, self.num_folds = valid, fold, num_folds
        self.split_seed, self.limit_train, self.balanced = split_seed, limit_train, balanced
        self.lazy, self.mix = lazy, mix
        self.max_elements, self.augmented = max_elements, crop_padding > 0 or flip or warp > 0
        if features is not None and self.augmented:
            raise UserError(
                "vectors are neither cropped, flipped nor warped: data.crop_padding=0 data.flip=false data.warp=0"
            )
        self._sources: dict[str, Source | None] = {}

    @property
    def class_names(self) -> list[str]:
        """Return the name of each class, in the order of their numbers; none for data without classes."""
        return []

    @abstractmethod
    def load(self, part: str) -> Source | None:
        """Return the items of "train", "valid" or "test"; None if the data set has no such part."""

    def setup(self, stage: str | None = None) -> None:
        for part in ("test",) if stage == "test" else ("train", "valid"):
            self.source(part)
        if stage != "test" and len(self.class_names) != (self.num_classes or 0):
            raise UserError(
                f"{type(self).__name__} has {len(self.class_names)} class names, and "
                f"data.num_classes={self.num_classes}: correct one of them"
            )

    def source(self, part: str) -> Source | None:
        """Return the items of a part; load them at the first call."""
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
        """Return the sorted positions of the items of a part in their source; None if there is no such part."""
        if self._origin(part) == "train":
            position = self._split[part]
        else:
            source = self.source(part)
            position = torch.arange(0 if source is None else len(source))
        return position if len(position) else None

    def own_index(self, index_B: Tensor) -> Tensor:
        """Return the positions of training items in their source, whichever repetition of an item index_B means."""
        source = self.source("train")
        assert source is not None
        return index_B % len(source)

    def targets(self, part: str) -> Targets:
        """Return the targets [M, ...] of the items of a part, on the CPU; none if there is no such part."""
        source, position_M = self.source(self._origin(part)), self.position(part)
        if source is None or position_M is None:
            return torch.empty(0, dtype=torch.int64)
        return each_target(source.targets, lambda target: target.index_select(0, position_M.to(target.device)).cpu())

    def instance_labels(self, part: str) -> Sequence[Tensor | None]:
        """Return which elements of each set of a part are evidence for its label, bool [n] each, None where unknown.

        The order is that of the source. Empty for data that do not know it.
        """
        return []

    def class_counts(self, part: str, task: str | None = None) -> list[int]:
        """Return the number of items of each class in a part; of a multi-hot target, the items that have the label.

        Of the targets of several tasks, `task` names which are counted.
        """
        targets = self.targets(part)
        targets = targets[task] if isinstance(targets, dict) and task is not None else targets
        assert isinstance(targets, Tensor)
        assert self.num_classes is not None
        return (targets.bincount(minlength=self.num_classes) if targets.ndim == 1 else targets.sum(0).long()).tolist()

    def summary(self) -> dict[str, int | str | None]:
        """Return the number of items of each part and a hash of the validation items, for the run's record."""
        positions = {part: self.position(part) for part in ("train", "valid", "test")}
        sizes = {part: 0 if position is None else len(position) for part, position in positions.items()}
        valid = positions["valid"]
        return {**sizes, "split_hash": None if valid is None else split_hash(valid)}

    @cached_property
    def _split(self) -> dict[str, Tensor]:
        train = self.source("train")
        if train is None:
            raise UserError(f"{type(self).__name__}: load('train') returned None, no training items: check its paths")
        return self.divided(train)

    @classmethod
    def own_settings(cls) -> set[str]:
        """Return the names of the settings that not all data sets have, such as `root`.

        They are the arguments of the class, and of its bases below the one that derives from DataModule directly.
        """
        general = {DataModule, *DataModule.__bases__, *DataModule.__subclasses__()} - {cls}
        kinds = [kind for kind in cls.__mro__ if issubclass(kind, DataModule) and kind not in general]
        constructors = [vars(kind)["__init__"] for kind in kinds if "__init__" in vars(kind)]
        return {name for each in constructors for name in signature(each).parameters}

    def divided(self, train: Source) -> dict[str, Tensor]:
        """Return the sorted positions in the training source of the items for train and, if split off, for valid."""
        valid, fold = self.valid, self.fold
        if self.source("valid") is not None:
            valid, fold = 0, None
        return dict(zip(("train", "valid"), self.divide(train, valid, fold), strict=True))

    def divide(self, train: Source, valid: float, fold: int | None) -> tuple[Tensor, Tensor]:
        """Return the sorted positions of the items for training and for validation, as `split` does."""
        return split(len(train), valid, fold, self.num_folds, self.split_seed, self.limit_train)

    def train_dataloader(self) -> DataLoader:
        part, targets = self._part("train"), self.targets("train")
        labels_M = self._labels(targets)
        if labels_M is not None:
            self._report_imbalance(labels_M)
        elif self.balanced:
            raise UserError("data.balanced=true: these data have no classes to balance: data.balanced=false")
        if self.mix is not None:
            part.mixing = self._mixing(part, self.mix)
        order = EpochOrder(len(part), self.seed, *self._epoch_and_ranks(), labels_M if self.balanced else None)
        single = len(order) > self.batch_size > 1 and len(order) % self.batch_size == 1
        batches = ResumableBatches(order, self.batch_size, drop_last=single)
        batches.device, batches.with_epoch = part.position_M.device, part.needs_epoch
        loader = self._resumable_loader(part, batches, self._loader_settings_of(part))
        loader.ahead = self._ahead(part)
        return loader

    def _mixing(self, part: Part, most: int) -> Mixing:
        """Return what draws the training bags anew. Raises UserError for data that it does not fit."""
        source = part.source
        if not isinstance(source, SetSource):
            raise UserError(f"data.mix={most}: only bags in memory can be mixed: data.mix=null")
        labels = self._labels(source.targets)
        if self.num_classes != 2 or labels is None:
            raise UserError(f"data.mix={most}: only bags that are labelled 0 or 1 can be mixed: data.mix=null")
        zero, one = self.class_names
        log.info(f"data.mix={most}: bags of {zero!r} are drawn anew; {one!r} get up to {most} elements of such bags")
        return Mixing(source.members, labels, part.position_M, most, self.seed)

    def _epoch_and_ranks(self) -> tuple[int, int, int]:
        """Return the epoch that training begins with, this rank, and the number of ranks."""
        if self.trainer is None:
            return 0, 0, 1
        # not trainer.current_epoch, which in a checkpoint at an epoch's end is not yet increased
        progressed: Any = self.trainer.fit_loop.epoch_progress.current
        return progressed.processed, self.trainer.global_rank, self.trainer.world_size

    def _resumable_loader(
        self, part: Dataset[Batch], batches: ResumableBatches, settings: dict[str, Any]
    ) -> ResumableLoader:
        def progress() -> tuple[int, int]:
            assert self.trainer is not None
            loop: Any = self.trainer.fit_loop
            epoch, within = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
            # between two epochs, Lightning's count of batches is still that of the finished epoch
            batches = within.processed if epoch.started > epoch.processed else 0
            complete, batch = divmod(batches, int(self.trainer.num_training_batches))
            return epoch.processed + complete, batch

        return ResumableLoader(part, progress, batch_sampler=batches, **settings)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.ordered_dataloader("valid") if self.has_valid else _none()

    def test_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.ordered_dataloader("test") if self.has_test else _none()

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the parts; Lightning's own would search nested collections for tensors at every step."""
        inputs, targets, index_B = batch
        moved = each_target(targets, lambda target: target.to(device, non_blocking=True))
        return inputs.to(device, non_blocking=True), moved, index_B.to(device, non_blocking=True)

    def _origin(self, part: str) -> str:
        """Return the part whose source holds the items: validation items may be split off those of training."""
        return "train" if part == "valid" and self.source(part) is None else part

    def _part(self, name: str) -> Part:
        """Return the items of a part, moved to the device if they fit there and no workers read them."""
        origin = self._origin(name)
        source, position = self.source(origin), self.position(name)
        assert source is not None
        assert position is not None
        if isinstance(source, MemorySource) and not self.num_workers:
            if source.device != self._device and has_room(source, self._device):
                source = self._sources[origin] = source.to(self._device)
            position = position.to(source.device)
        seed = self.seed if name == "train" else 0  # a test set is the same for every seed
        return Part(source, position, self.balanced and name == "train", self.max_elements, seed)

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def ordered_dataloader(self, name: str) -> DataLoader:
        """Return the batches of a part in the order of its items, each item once; ranks take turns."""
        return self._ordered(self._part(name))

    def sized_dataloader(self, name: str, n: int) -> DataLoader | None:
        """Return the batches of a part with n random elements of each set, all of a smaller set; None for images."""
        part = self._part(name)
        if not isinstance(part.source, SizedSource):
            return None
        part.max_elements = n
        return self._ordered(part)

    def _ordered(self, part: Part) -> DataLoader:
        sampler = None
        if self.trainer is not None and self.trainer.world_size > 1:
            # Lightning's own sampler gives some items to two ranks, to make equal shares, and counts them twice
            ranks = {"num_replicas": self.trainer.world_size, "rank": self.trainer.global_rank}
            sampler = UnrepeatedDistributedSampler(part, shuffle=False, **ranks)
        loader = ReadAheadLoader(part, self.batch_size, sampler=sampler, **self._loader_settings_of(part))
        loader.ahead = self._ahead(part)
        return loader

    def _ahead(self, part: Part) -> int:
        """Return how many batches threads read ahead: none where workers, or no files, are read."""
        return AHEAD if self.num_workers is None and getattr(part.source, "in_threads", False) else 0

    def _loader_settings_of(self, part: Part) -> dict[str, Any]:
        no_workers = isinstance(part.source, MemorySource) or self._ahead(part) > 0
        return self._loader_settings(no_workers, part.position_M.device)

    def _loader_settings(self, no_workers: bool, device: torch.device) -> dict[str, Any]:
        workers = self.num_workers
        if workers is None:
            workers = 0 if no_workers else suggested_max_num_workers(self.trainer.num_devices if self.trainer else 1)
        if no_workers or workers:
            # Lightning advises more workers, which data in memory do not need and a user who has set them does not want
            warnings.filterwarnings("ignore", ".* does not have many workers")
        return {
            "collate_fn": identity_collate,
            # each iterator draws a seed for its workers, which must not change torch's global random state
            "generator": torch.Generator(),
            "num_workers": workers,
            "multiprocessing_context": start_method(workers),
            "persistent_workers": workers > 0,
            "pin_memory": self._device.type == "cuda" and device.type == "cpu",
        }

    def _labels(self, targets: Targets) -> Tensor | None:
        """Return targets that are numbers of classes [M]; None for others."""
        are_labels = self.num_classes is not None and isinstance(targets, Tensor) and targets.ndim == 1
        return targets if are_labels else None  # type: ignore[return-value]

    def _report_imbalance(self, labels_M: Tensor) -> None:
        """Log a line if some classes have no training item, or many times fewer than others."""
        assert self.num_classes is not None
        items = "images" if self.features is None else "sets"
        count_K = torch.bincount(labels_M, minlength=self.num_classes)
        empty = (count_K == 0).nonzero().flatten().tolist()
        if empty:
            name = self.class_names[empty[0]]
            log.info(f"{len(empty)} of {len(count_K)} classes have no training {items[:-1]}, such as {name!r}")
        few, many = (int(k) for k in (count_K.where(count_K > 0, len(labels_M) + 1).argmin(), count_K.argmax()))
        if not self.balanced and count_K[many] >= IMBALANCED * count_K[few]:
            counts = " and ".join(f"{count_K[k]:,} {items} of {self.class_names[k]!r}" for k in (many, few))
            log.info(f"training has {counts}: data.balanced=true shows the network all classes equally often")

    def _check_facts(self, part: str, source: MemorySource) -> None:
        """Raise a UserError for a source that is not as the facts of the data say."""
        elements = source.elements
        shape, kind, names = tuple(elements.shape[1:]), torch.uint8, "data.channels and data.image_size"
        expected: tuple[int | None, ...] = (self.channels, *(self.image_size or ()))
        words = ("images", "(channels, height, width)")
        if self.features is not None:
            expected, kind, names, words = (self.features,), torch.float32, "data.features", ("vectors", "(features,)")
        if shape != expected:
            raise UserError(f"the {part} {words[0]} are {shape} {words[1]}, {names} say {expected}: correct these")
        if elements.dtype != kind:
            raise UserError(f"the {part} {words[0]} are {elements.dtype}: load() must give {kind}")
        if isinstance(source.targets, Tensor):
            self._check_targets(part, source.targets)

    def _check_targets(self, part: str, targets: Tensor) -> None:
        if self._labels(targets) is not None:
            if targets.dtype != torch.int64:
                raise UserError(f"the {part} labels are {targets.dtype}: give {torch.int64}, as labels.long() does")
            assert self.num_classes is not None
            least, most = int(targets.min()), int(targets.max())
            if least < 0 or most >= self.num_classes:
                raise UserError(
                    f"the {part} labels are {least} to {most}, and data.num_classes={self.num_classes} asks for labels "
                    f"from 0 to {self.num_classes - 1}: correct one of them"
                )
        elif self.num_classes is not None and tuple(targets.shape[1:]) != (self.num_classes,):
            raise UserError(
                f"the {part} targets are {list(targets.shape)}, and data.num_classes={self.num_classes} asks for a "
                f"label, or for {self.num_classes} numbers 0 or 1, for each item: correct one of them"
            )
        elif self.target_shape is not None and tuple(targets.shape[1:]) != self.target_shape:
            raise UserError(
                f"the {part} targets have the shape {list(targets.shape[1:])}, data.target_shape says "
                f"{list(self.target_shape)}: correct one of them"
            )


def _none() -> list[DataLoader]:
    """Return no loaders, so that Lightning skips the stage, and silence its warning, as this is intended."""
    warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero")
    return []
