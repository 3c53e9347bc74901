"""Your own images: one folder per class, on disk or in a .zip."""

import hashlib
import logging
import math
import os
import threading
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.utilities.data import suggested_max_num_workers
from torch import Tensor
from torch.utils.data import DataLoader

from datamodule import pixel_cache
from datamodule.class_folders import entries_by_name, list_images
from datamodule.decode import MAX_MEGAPIXELS, LevelsError, TooManyPixelsError, decode, decoder_version
from datamodule.image import ImageDataModule
from datamodule.loader import MemorySource, Part, Source, identity_collate, start_method
from process.errors import UserError
from process.ranks import is_rank_zero

log = logging.getLogger(__name__)

# N images of the source, B images of a batch, C channels, H height, W width

GIB = 2**30
CHUNK = 2**22  # bytes that a worker sends at once: containers often have 64 MiB of shared memory
BYTES_PER_PIXEL = 3  # in a file that is not compressed
SLACK = 2**26  # bytes of profiles, thumbnails and the like in a file, beside its pixels
FEW = 4_000  # images; for fewer, starting workers takes longer than they save


class UnreadableImageError(UserError):
    """Error that names the file, even if a DataLoader worker has put a traceback before the message."""

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class EncodedImages(ABC):
    """Source of encoded images [N, C, H, W] that are decoded at each access; of a shape (C,), they keep their size."""

    def __init__(
        self,
        targets: Tensor,
        shape: tuple[int, ...],
        white: float | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        limit_setting: str = "data.max_megapixels",
    ) -> None:
        self.targets, self.shape, self.white = targets, shape, white
        self.max_megapixels, self.limit_setting = max_megapixels, limit_setting

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def where(self, i: int) -> str:
        """Return the name of an image in messages."""

    @abstractmethod
    def read(self, i: int) -> bytes:
        """Return the content of the file of an image, of which `check_size` is called before it is read."""

    def inputs(self, index_B: Tensor) -> Tensor:
        return torch.stack([self.image(i) for i in index_B.tolist()])

    def image(self, i: int) -> Tensor:
        """Decode one image. Raises UnreadableImageError."""
        try:
            return decode(self.read(i), self.shape[0], self.shape[1:] or None, self.white, self.max_megapixels)
        except TooManyPixelsError as error:
            raise self._too_large(i, f"{error.pixels:,} pixels", error.pixels) from error
        except UnreadableImageError:
            raise
        except LevelsError as error:
            raise UnreadableImageError(f"{self.where(i)}: {error}") from error
        except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, struct.error, and others
            message = getattr(error, "strerror", None) or str(error)
            reason = " ".join(message.partition("<_io.")[0].split()) or type(error).__name__
            raise UnreadableImageError(
                f"{self.where(i)}: cannot be read as an image ({reason}): replace or remove it"
            ) from error

    def _too_large(self, i: int, size: str, pixels: float) -> UnreadableImageError:
        limit, raised = f"{self.limit_setting}={self.max_megapixels:g}", math.ceil(pixels / 1e6)
        return UnreadableImageError(
            f"{self.where(i)}: {size} are more than {limit} allows: reduce the image, or set "
            f"{self.limit_setting}={raised} if memory suffices for it"
        )

    def check_size(self, i: int, size: int) -> None:
        """Raise UnreadableImageError for a file larger than the largest image would be without compression."""
        if size > SLACK + BYTES_PER_PIXEL * self.max_megapixels * 1e6:
            raise self._too_large(i, f"{size:,} bytes", (size - SLACK) / BYTES_PER_PIXEL)

    def decoded(self, position_R: Tensor) -> Tensor:
        """Decode the images at these positions, many in worker processes (threads would wait for Python's lock)."""
        channels, height, width = self.shape
        size = max(1, min(512, CHUNK // (channels * height * width)))
        workers = suggested_max_num_workers(1) if len(position_R) > FEW else 0
        part = Part(self, position_R)
        images_RCHW = torch.empty(len(position_R), *self.shape, dtype=torch.uint8)
        method = start_method(workers)
        loader = DataLoader(
            part, size, num_workers=workers, collate_fn=identity_collate, multiprocessing_context=method
        )
        row = 0
        for images_BCHW, _, _ in loader:
            images_RCHW[row : row + len(images_BCHW)] = images_BCHW
            row += len(images_BCHW)
        return images_RCHW

    def facts(self, position_R: Tensor) -> dict[str, Any] | None:
        """Return all that decides the pixels of the images at these positions, for pixel_cache; None: keep none."""
        return None


class FileSource(EncodedImages):
    """Source of image files in a folder or a .zip, `classes` by the names of their folders."""

    def __init__(
        self,
        root: Path,
        classes: dict[str, list[str]],
        labels: list[int],
        shape: tuple[int, ...],
        white: float | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        limit_setting: str = "data.max_megapixels",
    ) -> None:
        self.root = root
        self.names = [name for names in classes.values() for name in names]
        counts = torch.tensor([len(names) for names in classes.values()])
        super().__init__(torch.tensor(labels).repeat_interleave(counts), shape, white, max_megapixels, limit_setting)
        self._zipped = root.is_file()
        self._archives: dict[tuple[int, int], tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]] = {}

    def where(self, i: int) -> str:
        return str(self.root / self.names[i])

    def read(self, i: int) -> bytes:
        name = self.names[i]
        if not self._zipped:
            path = Path(f"{self.root}/{name}")
            if not path.is_file():  # a pipe, whose reading would block, or a link to nothing
                raise OSError("no file")
            self.check_size(i, path.stat().st_size)
            return path.read_bytes()
        # a handle has one position in the file: threads and forked workers must not share it
        reader = (os.getpid(), threading.get_ident())
        if reader not in self._archives:
            archive = zipfile.ZipFile(self.root)
            self._archives[reader] = archive, entries_by_name(archive)
        archive, entries = self._archives[reader]
        entry = entries[name]
        self.check_size(i, entry.file_size)
        with archive.open(entry) as file:
            return file.read(entry.file_size)  # not archive.read, which decompresses more than is stated

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_archives": {}}

    def facts(self, position_R: Tensor) -> dict[str, Any] | None:
        """Return all that decides the pixels of the images at these positions, without reading them.

        None if a file is missing, or so new that it could change unnoticed.
        """
        names = [self.names[position] for position in position_R.tolist()]
        try:
            found = [self.root.stat()] if self._zipped else [os.stat(f"{self.root}/{name}") for name in names]  # noqa: PTH116
        except OSError:
            return None
        # the time of the last change of a file's state cannot be set, so that a file with an old date is noticed, too
        if not pixel_cache.is_settled([max(file.st_mtime, file.st_ctime) for file in found]):
            return None
        files = hashlib.sha256()
        for name in names:
            files.update(f"{name}\0".encode("utf-8", "surrogateescape"))
        for file in found:
            files.update(f"{file.st_size} {file.st_mtime_ns} {file.st_ctime_ns}\n".encode())
        decoder = {"decoder": decoder_version(), "white": self.white, "max_megapixels": self.max_megapixels}
        return {"root": str(self.root), "files": files.hexdigest(), "shape": self.shape, **decoder}


class LimitedSource(MemorySource):
    """Source of N images of which only those at the positions [R] are in memory, images_RCHW; others raise IndexError.

    `targets` are those of all N.
    """

    def __init__(self, images_RCHW: Tensor, position_R: Tensor, targets: Tensor) -> None:
        self.images_NCHW, self.position_R = images_RCHW, position_R
        self.labels_N = self.targets = targets
        self.row_N = torch.full((len(targets),), -1, device=targets.device)
        self.row_N[position_R] = torch.arange(len(position_R), device=targets.device)

    def inputs(self, index_B: Tensor) -> Tensor:
        return self.images_NCHW.index_select(0, self.row_N.index_select(0, index_B))

    def to(self, device: torch.device) -> "LimitedSource":
        return LimitedSource(self.images_NCHW.to(device), self.position_R.to(device), self.labels_N.to(device))


class EncodedImageData(ImageDataModule):
    """Base class for images that are decoded: a part of at most memory_limit_gib GiB as uint8 once, at setup.

    A larger part is decoded batch by batch. Of the training images, those that limit_train leaves out are not decoded.
    With `cache`, decoded images of files are kept for later runs, see pixel_cache. `white` is the level that is white
    in images of more than 8 bits; None: 65535 in 16 bits, others are refused. An image of more than `max_megapixels` is
    refused.
    """

    def __init__(
        self,
        memory_limit_gib: float,
        white: float | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,  # of runs recorded before the setting existed, too
        cache: bool = True,  # likewise
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.memory_limit_gib, self.white = memory_limit_gib, white
        self.max_megapixels, self.cache = max_megapixels, cache
        if self.channels not in (1, 3):
            raise UserError(f"data.channels={self.channels}: choose 1 (grey) or 3 (RGB)")

    def fitting(self, part: str, source: EncodedImages, what: str) -> Source:
        """Return the images of a part that are used, decoded once, or the source if they do not fit in memory.

        `what` names the images in the log.
        """
        position_R = self._used(part, source)
        if not self._fits(len(position_R), source.shape):
            return source
        images_RCHW, position_R = self._decoded(source, position_R, what)
        if len(position_R) == len(source):
            return MemorySource(images_RCHW, source.targets)
        return LimitedSource(images_RCHW, position_R, source.targets)

    def _used(self, part: str, source: EncodedImages) -> Tensor:
        """Return the sorted positions of the images that training, validation or test use."""
        if part != "train" or self.limit_train is None:
            return torch.arange(len(source))
        return torch.cat(list(self.divided(source).values())).sort().values

    def _fits(self, count: int, shape: Sequence[int]) -> bool:
        return count * math.prod(shape) <= self.memory_limit_gib * GIB

    def _decoded(self, source: EncodedImages, position_R: Tensor, what: str) -> tuple[Tensor, Tensor]:
        """Return images, and their positions: those that are asked for, or all if all are in the cache."""

        def decode() -> Tensor:
            return source.decoded(position_R)

        facts = source.facts(position_R) if self.cache else None
        if facts is None:
            return decode(), position_R
        images_RCHW = pixel_cache.find(facts, (len(position_R), *source.shape))
        if images_RCHW is None and len(position_R) < len(source) and self._fits(len(source), source.shape):
            all_N = torch.arange(len(source))
            facts_of_all = source.facts(all_N)
            if facts_of_all is not None:
                images_NCHW = pixel_cache.find(facts_of_all, (len(source), *source.shape))
                if images_NCHW is not None:
                    return images_NCHW, all_N
        if images_RCHW is None:

            def unchanged() -> bool:
                return source.facts(position_R) == facts

            images_RCHW = pixel_cache.cached(facts, (len(position_R), *source.shape), decode, unchanged, what)
        return images_RCHW, position_R


class ImageFolder(EncodedImageData):
    """Images in root/train/<class>/, optionally valid/ and test/ likewise, converted to channels and image_size."""

    def __init__(self, root: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.root = Path(root).absolute()

    @cached_property
    def class_names(self) -> list[str]:  # type: ignore[override]
        return list(list_images(str(self.root), "train"))

    def load(self, part: str) -> Source | None:
        # a terminal shows the warnings of all ranks, which would all report the same files
        classes = list_images(str(self.root), part, log.warning if is_rank_zero() else log.info)
        if not classes:
            return None
        names = self.class_names if part != "train" else list(classes)
        if len(names) != self.num_classes:
            raise UserError(f"data.num_classes={self.num_classes}, but {self.root} has {len(names)} in train/")
        labels = [names.index(name) for name in classes]
        shape = (self.channels, *self.image_size)
        source = FileSource(self.root, classes, labels, shape, self.white, self.max_megapixels)
        return self.fitting(part, source, f"{self.root}: {part}")
