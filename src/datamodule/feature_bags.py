"""Your own bags of feature vectors, embedded elsewhere: one file per bag, and a table of labels."""

# B bags of a batch, M bags of a part, N elements in all, F features

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from datamodule.bag_file import BagFile, UnusableFileError, describe, refuse_unusable
from datamodule.bag_table import BagTable
from datamodule.buffers import Buffers
from datamodule.loader import Batch, Limit, SetSource, Source
from datamodule.subsample import chosen_rows
from datamodule.table_data import TableData
from process.errors import UserError
from set_module.set_batch import SetBatch

log = logging.getLogger(__name__)

GIB = 2**30
NOT_FINITE = "NaN or infinite features"
FLOAT32 = 4  # bytes
BLOCK = 4096  # rows


class BadBagsError(UserError):
    """Error that names files, even if a DataLoader worker has put a traceback before the message."""

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class FeatureSource:
    """Source of bags [n, F] in files, of which only the elements that a batch holds are read.

    A batch is float16 if all files are, else float32. Raises BadBagsError for NaN and infinite features: at the first
    it looks for all others, so that one message names them.

    Args:
        draw: what is read of bags that are larger than a limit: `rows`, a random subset, or `runs` of neighbours.
        related: all files among which it looks for NaN, by default its own.
    """

    in_threads = True  # a file is copied, not decoded: worker processes would only copy it once more

    def __init__(
        self, files: list[BagFile], targets: Tensor, draw: str = "rows", related: Sequence[BagFile] = ()
    ) -> None:
        self.files, self.targets, self.draw, self.related = files, targets, draw, list(related) or files
        self.lengths = torch.tensor([file.length for file in files])
        self.features = files[0].width
        self.dtype = torch.float16 if {file.dtype for file in files} == {"float16"} else torch.float32
        self.buffers = Buffers(self.dtype)
        self._finite: set[int] = set()  # bags that were read whole, and need no second look

    def __len__(self) -> int:
        return len(self.files)

    def inputs(self, index_B: Tensor) -> SetBatch:
        return self._read(index_B.tolist(), [None] * len(index_B))

    def limited(self, index_B: Tensor, limit: Limit) -> SetBatch:
        numbers, runs = index_B.tolist(), self.draw == "runs"
        places = zip(numbers, limit.index.tolist(), strict=True)
        key = limit.max_elements, limit.seed, limit.epoch
        return self._read(numbers, [chosen_rows(self.files[i].length, *key, place, runs) for i, place in places])

    def in_memory(self) -> SetSource:
        """Read all bags once, as float32."""
        return SetSource(self.inputs(torch.arange(len(self))).map(Tensor.float), self.targets)

    def _read(self, numbers: list[int], rows: list[Tensor | None]) -> SetBatch:
        lengths = [self.files[i].length if kept is None else len(kept) for i, kept in zip(numbers, rows, strict=True)]
        values_NF = self.buffers.empty(sum(lengths), self.features)
        for i, kept, part_nF in zip(numbers, rows, values_NF.split(lengths), strict=True):
            try:
                self.files[i].read_into(part_nF, kept)
            except UnusableFileError as error:
                raise BadBagsError(f"{self.files[i]}: {error}: replace it") from error
            if i not in self._finite and not is_finite(part_nF):
                self._refuse_not_finite()
            if kept is None:
                self._finite.add(i)
        return SetBatch(values_NF, torch.tensor(lengths))

    def _refuse_not_finite(self) -> None:
        """Read all bags, a few rows at a time, and raise an error that names those with NaN or infinite features."""
        log.warning(f"{NOT_FINITE}: all files are read to find the others")
        wrong: dict[str, list[str]] = {}
        for file in self.related:
            try:
                if not all(is_finite(block_KF) for block_KF in self._blocks(file)):
                    wrong.setdefault(NOT_FINITE, []).append(file.name)
            except UnusableFileError as error:
                wrong.setdefault(str(error), []).append(file.name)
        where = self.related[0].path
        assert where is not None
        raise BadBagsError(
            f"{where.parent}: {describe(wrong)}: replace these files, or remove their lines from the table"
        )

    def _blocks(self, file: BagFile) -> Iterator[Tensor]:
        for rows_K in torch.arange(file.length).split(BLOCK):
            block_KF = self.buffers.empty(len(rows_K), self.features)
            file.read_into(block_KF, rows_K)
            yield block_KF


def is_finite(values: Tensor) -> bool:
    """Return whether no value is NaN or infinite, in a twentieth of the time of isfinite."""
    return all(bound.isfinite() for bound in values.aminmax())


class FeatureBags(TableData):
    """Bags of feature vectors in files, see bag_table; a batch is a SetBatch of float32 [N, F].

    Raises UserError that names all files that cannot be used.

    Args:
        draw: what is read of a bag of more than data.max_elements: `rows` or `runs`, see FeatureSource.
        memory_limit_gib: a part that takes at most so many GiB as float32 is read once, at setup, unless draw=runs.
    """

    features: int

    def __init__(self, *, root: str, draw: str, memory_limit_gib: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.root, self.draw, self.memory_limit_gib = root, draw, memory_limit_gib

    @cached_property
    def table(self) -> BagTable:
        return BagTable(self.root)

    @cached_property
    def files(self) -> list[BagFile]:
        """The files of all bags, in the order of the table."""
        files = self.table.files([row.item for row in self.table.rows])
        widths = [file.width for file in files if file.problem is None]
        usual = max(set(widths), key=widths.count, default=0)
        refuse_unusable(files, self.table.path, usual)
        if usual != self.features:
            raise UserError(
                f"{self.root}: bags of {usual} features, and the network was built for data.features={self.features}: "
                "choose the data of the run"
            )
        return files

    def load(self, part: str) -> Source | None:
        chosen = self._rows_of(part)
        if not chosen:
            return None
        source = FeatureSource(
            [self.files[number] for number in chosen], self.targets_of(chosen), self.draw, self.files
        )
        size = int(source.lengths.sum()) * source.features * FLOAT32
        fits = size <= self.memory_limit_gib * GIB and self.draw == "rows"
        return source.in_memory() if fits else source

    def instance_labels(self, part: str) -> list[Tensor | None]:
        """Return which elements have a label above 0 in the files of instance labels."""
        labels = [self.files[number].instance_labels() for number in self._rows_of(part)]
        return [None if label_n is None else label_n > 0 for label_n in labels]

    def _rows_of(self, part: str) -> list[int]:
        return [number for number, row in enumerate(self.table.rows) if row.part == part]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        sets, targets, index_B = batch
        assert isinstance(sets, SetBatch)
        return sets.map(Tensor.float), targets, index_B  # on the device, so that half as many bytes are sent there
