"""Your own images of any size, larger than memory too: only the patches that a network takes are read."""

# B images of a batch, M images of a part, n patches of one image, p side of a patch

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodule.bag_file import UnusableFileError, describe
from datamodule.data_module import AHEAD
from datamodule.image_table import ImageTable
from datamodule.large_image_file import LargeImageFile, open_image
from datamodule.loader import Batch, Part, Source
from datamodule.table_data import TableData
from process.errors import UserError
from set_module.counter_rng import FIXED
from set_module.lazy_images import ImageReader, LazyImages, cell_means
from set_module.patch_cutout import PatchCutout

FINE, CELLS = 8, 1024  # cells of a mask of tissue: so many in a side of a patch, at most, and in a side of the image
MOST_BYTES = 2**31  # of the patches of a batch: the floats that a network makes of them take four times as many
OPEN = 64  # files, at most; each may hold a cache of decoded tiles
THREADS = 8  # that open files at the start
MODES = ("random", "grid", "all")  # selections whose places are known before an image is seen


class UnreadableImageError(UserError):
    """Error that names the file, even if a DataLoader worker has put a traceback before the message."""

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class FileReader(ImageReader):
    """Reader of large images in files, as grey (1 channel) or RGB (3 channels).

    `problems` says what is wrong with files that cannot be used, by number. See open_image for level and magnification.

    Args:
        tissue: least share of a patch that must be tissue for it to be chosen, as far as a smaller version of the image
            shows; None: every patch may be.
        tissue_threshold: the least saturation of tissue, (max - min) / 255 of RGB; of grey, 1 - level / 255.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        channels: int,
        level: int,
        magnification: float | None,
        tissue: float | None = None,
        tissue_threshold: float = 0.07,
    ) -> None:
        self.tissue, self.tissue_threshold = tissue, tissue_threshold
        self._squares: dict[tuple[int, int], tuple[Tensor, int]] = {}
        self.paths, self.channels = list(paths), channels
        self.level, self.magnification = level, magnification
        self._files: OrderedDict[tuple[int, int], LargeImageFile] = OrderedDict()
        self._lock = threading.Lock()
        self.problems: dict[int, str] = {}
        self.sizes = [(0, 0)] * len(self.paths)
        with ThreadPoolExecutor(THREADS) as pool:
            for item, found in enumerate(pool.map(self._measured, range(len(self.paths)))):
                if isinstance(found, str):
                    self.problems[item] = found
                else:
                    self.sizes[item] = found

    def _measured(self, item: int) -> tuple[int, int] | str:
        try:
            file = open_image(self.paths[item], self.level, self.magnification)
        except UnusableFileError as error:
            return str(error)
        return file.height, file.width

    def size(self, item: int) -> tuple[int, int]:
        return self.sizes[item]

    def read(self, item: int, corners_n2: Tensor, size: int) -> Tensor:
        try:
            return self._file(item).patches(corners_n2, size, self.channels)
        except Exception as error:
            raise self._unreadable(item, error) from error

    def thumbnail(self, item: int, scale: int) -> Tensor:
        """Return the means of scale x scale pixels, of a smaller version of the image if the file has one."""
        height, width = self.sizes[item]
        try:
            file = self._file(item)
            factor, source = next(((k, other) for k, other in file.levels() if scale % k == 0), (1, file))
            read = source.patches
            found_Chw = cell_means(
                lambda corners_n2, size: read(corners_n2, size, self.channels),
                *(source.height, source.width, scale // factor),
            )
        except Exception as error:
            raise self._unreadable(item, error) from error
        # a smaller version may lack the last pixels, which are not whole
        for axis, length in ((1, -(-height // scale)), (2, -(-width // scale))):
            found_Chw = found_Chw.index_select(axis, torch.arange(length).clamp(max=found_Chw.shape[axis] - 1))
        return found_Chw

    def squares(self, item: int, size: int) -> tuple[Tensor, int] | None:
        """Return the places with enough tissue, see ImageReader. Raises UnreadableImageError if there are none."""
        if self.tissue is None:
            return None
        key = item, size
        if key not in self._squares:
            side = 2 ** max(0, (size // FINE).bit_length() - 1, (max(self.sizes[item]) // CELLS).bit_length())
            self._squares[key] = self._with_tissue(item, size, side, self.tissue), side
        return self._squares[key]

    def _with_tissue(self, item: int, size: int, side: int, tissue: float) -> Tensor:
        """Return the first corners of the squares of side x side places whose patches have enough tissue, [M, 2]."""
        pixels_Chw = self.thumbnail(item, side).float() / 255
        saturation_hw = pixels_Chw.amax(0) - pixels_Chw.amin(0) if self.channels == 3 else 1 - pixels_Chw[0]
        tissue_hw = (saturation_hw >= self.tissue_threshold).float()
        # a patch at the first corner of a square covers so many cells, one at its middle nearly the same
        covered = min(max(1, round(size / side)), *tissue_hw.shape)
        share_hw = torch.nn.functional.avg_pool2d(tissue_hw[None], covered, stride=1)[0]
        rows, columns = ((length - size + 1) // side for length in self.sizes[item])
        enough = (share_hw[:rows, :columns] >= tissue - 1e-6).nonzero() * side
        if len(enough) == 0:
            raise UnreadableImageError(
                f"{self.paths[item]}: no patch of {size} pixels has data.tissue={tissue} of tissue: choose less, "
                "a smaller data.tissue_threshold, or remove the image"
            )
        return enough

    def _file(self, item: int) -> LargeImageFile:
        """Return an open file of this process; the one that was used the longest ago is closed for it."""
        key = os.getpid(), item
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
                return self._files[key]
        file = open_image(self.paths[item], self.level, self.magnification)
        with self._lock:
            self._files[key] = file
            while len(self._files) > OPEN:
                self._files.popitem(last=False)
        return file

    def _unreadable(self, item: int, error: Exception) -> UnreadableImageError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return UnreadableImageError(f"{self.paths[item]}: cannot be read ({reason}): replace or remove it")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": OrderedDict(), "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


class LargeImageSource:
    """Source of the images of a reader; a batch is LazyImages."""

    in_threads = True

    def __init__(self, reader: FileReader, targets: Tensor) -> None:
        self.reader, self.targets = reader, targets

    def __len__(self) -> int:
        return len(self.targets)

    def inputs(self, index_B: Tensor) -> LazyImages:
        return LazyImages(self.reader, index_B.tolist())


class PlannedPart(Part):
    """Part whose patches are read with the batch, where `cutout` knows its places before it sees an image."""

    cutout: PatchCutout | None = None

    @property
    def needs_epoch(self) -> bool:
        return self.cutout is not None or super().needs_epoch

    def __getitems__(self, indices: Sequence[int] | tuple[int, Any]) -> Batch:
        images, targets, index_B = super().__getitems__(indices)
        if self.cutout is not None:
            cutout = copy(self.cutout)  # the network's own may be in another mode, or epoch, by now
            training = isinstance(indices, tuple)
            cutout.training, cutout.epoch = training, indices[0] if isinstance(indices, tuple) else FIXED
            images.read_ahead(cutout.positions(images, index_B), cutout.size)
        return images, targets, index_B


class LargeImages(TableData):
    """Images of any size in files, see image_table; a batch is LazyImages, of which a network reads its patches.

    Raises UserError that names all files that cannot be used.

    Args:
        level: of files that hold the image in several resolutions: 0 is the highest.
        magnification: of slides, such as 20, in place of `level`.
        tissue, tissue_threshold: which patches are chosen, see FileReader.
    """

    channels: int

    def __init__(
        self,
        *,
        root: str,
        level: int = 0,
        magnification: float | None = None,
        tissue: float | None = None,
        tissue_threshold: float = 0.07,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.tissue, self.tissue_threshold = tissue, tissue_threshold
        if self.channels not in (1, 3):
            raise UserError(f"data.channels={self.channels}: choose 1 (grey) or 3 (RGB)")
        self.root, self.level, self.magnification = root, level, magnification

    @cached_property
    def table(self) -> ImageTable:
        return ImageTable(self.root)

    def load(self, part: str) -> Source | None:
        chosen = [number for number, row in enumerate(self.table.rows) if row.part == part]
        if not chosen:
            return None
        paths = [self.table.paths[number] for number in chosen]
        mask = self.tissue, self.tissue_threshold
        reader = FileReader(paths, self.channels, self.level, self.magnification, *mask)
        if reader.problems:
            wrong: dict[str, list[str]] = {}
            for item, problem in reader.problems.items():
                wrong.setdefault(problem, []).append(str(paths[item].relative_to(self.table.root)))
            raise UserError(f"{self.table.path}: {describe(wrong)}: replace these files, or remove them")
        return LargeImageSource(reader, self.targets_of(chosen))

    def _part(self, name: str) -> Part:
        part = super()._part(name)
        planned = PlannedPart(part.source, part.position_M, part.repeats, part.max_elements, part.seed)
        network: Any = getattr(self.trainer and self.trainer.lightning_module, "network", None)
        cutout = getattr(network, "cutout", None)
        if isinstance(cutout, PatchCutout):
            self._check_sizes(part, cutout)
            planned.cutout = cutout if cutout.mode in MODES else None
        return planned

    def _check_sizes(self, part: Part, cutout: PatchCutout) -> None:
        """Raise a UserError for images that are smaller than a patch, or have too few places for distinct ones.

        And for images of which a grid takes more patches than memory should hold.
        """
        source: Any = part.source
        counts = [count[1] for count in (cutout.train_count, cutout.test_count) if count and not cutout.replace]
        for item in part.position_M.tolist():
            height, width = source.reader.sizes[item]
            places = max(0, height - cutout.size + 1) * max(0, width - cutout.size + 1)
            if places < max(counts, default=1):
                few = f"fewer than hparams.patch_num_max={max(counts, default=1)} places" if places else "smaller"
                raise UserError(
                    f"{source.reader.paths[item]}: {height}x{width} pixels, {few} for a patch of "
                    f"hparams.patch_size={cutout.size}: choose less, or remove the image"
                )
            if cutout.mode not in ("grid", "all"):
                continue
            number = cutout.regular_number((height, width))
            if number * self.channels * cutout.size**2 * self.batch_size > MOST_BYTES:
                raise UserError(
                    f"{source.reader.paths[item]}: {height}x{width} pixels, of which model/selection={cutout.mode} "
                    f"takes {number:,} patches: choose model/selection=random, a larger data.level or stride, "
                    "or a smaller hparams.batch_size"
                )

    def _ahead(self, part: Part) -> int:
        return AHEAD  # in threads, whatever data.num_workers says: what they read need not be sent between processes

    def _loader_settings(self, no_workers: bool, device: torch.device) -> dict[str, Any]:
        return super()._loader_settings(no_workers, device) | {
            "num_workers": 0,
            "multiprocessing_context": None,
            "persistent_workers": False,
        }
