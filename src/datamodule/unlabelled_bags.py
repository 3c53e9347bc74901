"""Unlabelled bags of feature vectors in files, for predict.py."""

# B readable bags of a batch, N elements in all, F features

import glob
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from lightning_fabric.utilities.data import suggested_max_num_workers
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodule.bag_file import COORDS, ENDINGS, FEATURES, LABELS, BagFile, UnusableFileError
from datamodule.feature_bags import NOT_FINITE, is_finite
from datamodule.loader import identity_collate, start_method
from process.errors import UserError
from process.files import path_from_setting
from process.text import printable
from set_module.set_batch import SetBatch

KINDS = f"give a file of features ({' '.join(ENDINGS)}), a folder, or a pattern such as 'slides/**/*.h5'"
FEW = 100  # bags; for fewer, starting workers takes longer than they save
ELEMENTS = 2**15  # of a batch, at most, unless one bag has more

Batch = tuple[SetBatch | None, Tensor, dict[int, str]]


class UnlabelledBags(Dataset[Batch]):
    """Bags [n, F] in files; a batch is (sets float32 [N, F] or None, index_B, {index: why it is unreadable}).

    `input` is a file, a folder (its features/, if there is one) with all below it, or a pattern. All elements of a bag
    are read. `names` are its file names, sorted; `short_names` those below the folder, without their ending. `others`
    is always empty. Raises UserError if nothing is found.
    """

    def __init__(self, input: str, features: int, batch_size: int, num_workers: int | None) -> None:
        folder, paths = _found(input)
        self.files = [_bag(path) for path in paths]
        self.features, self.batch_size, self.num_workers = features, batch_size, num_workers
        self.names = [printable(path) for path in paths]
        short = [path.relative_to(folder).as_posix() for path in paths]
        stems = [name[: name.rfind(".")] for name in short]
        self.short_names = [stem if stems.count(stem) == 1 else name for stem, name in zip(stems, short, strict=True)]
        self.others: list[str] = []
        self.batches = list(self._divided())

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        """Return a whole batch, which holds more or fewer bags, depending on their sizes."""
        bags: dict[int, Tensor] = {}
        unreadable: dict[int, str] = {}
        for i in self.batches[number]:
            try:
                bags[i] = self._read(self.files[i])
            except UnusableFileError as error:
                unreadable[i] = printable(f"{self.files[i]}: {error}")
        return SetBatch.from_list(bags.values()) if bags else None, torch.tensor(list(bags)), unreadable

    def _read(self, file: BagFile) -> Tensor:
        if file.problem is not None:
            raise UnusableFileError(file.problem)
        if file.width != self.features:
            raise UnusableFileError(f"{file.width} features, and the network takes {self.features}")
        values_nF = torch.empty(file.length, file.width)
        file.read_into(values_nF)
        if not is_finite(values_nF):
            raise UnusableFileError(NOT_FINITE)
        return values_nF

    def loader(self) -> DataLoader[Batch]:
        workers = self.num_workers
        if workers is None:
            workers = suggested_max_num_workers(1) if len(self.files) > FEW else 0
        warnings.filterwarnings("ignore", ".* does not have many workers")
        return DataLoader(
            self,
            batch_size=None,
            collate_fn=identity_collate,
            generator=torch.Generator(),
            num_workers=workers,
            multiprocessing_context=start_method(workers),
        )

    def _divided(self) -> Iterator[list[int]]:
        """Yield the numbers of the bags of each batch: neighbours of not too many elements in all."""
        batch: list[int] = []
        elements = 0
        for number, file in enumerate(self.files):
            if batch and (len(batch) == self.batch_size or elements + file.length > ELEMENTS):
                yield batch
                batch, elements = [], 0
            batch.append(number)
            elements += file.length
        yield batch


def _found(pattern: str) -> tuple[Path, list[Path]]:
    """Return a folder, and the files of features that a pattern names, all below it."""
    path = path_from_setting("input", pattern, KINDS).absolute()
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        folder = path / FEATURES if (path / FEATURES).is_dir() else path
        found = [each for each in folder.rglob("*") if not {COORDS, LABELS} & set(each.relative_to(folder).parts)]
        found = [each for each in found if not any(part.startswith(".") for part in each.relative_to(folder).parts)]
    else:
        folder, found = Path(path.anchor), [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    found = sorted(each for each in found if each.suffix in ENDINGS and each.is_file())
    if not found:
        raise UserError(f"input={pattern}: no features are there: {KINDS}")
    return folder, found


def _bag(path: Path) -> BagFile:
    """Return the bag of a file, with the coordinates and instance labels in the folders beside it."""
    root = path.parent.parent if path.parent.name == FEATURES else path.parent
    places = {place: root / place / f"{path.name.removesuffix(path.suffix)}.npy" for place in (COORDS, LABELS)}
    return BagFile(path.stem, path, {place: beside for place, beside in places.items() if beside.is_file()})
