"""MNIST, FashionMNIST, CIFAR10 and CIFAR100 as torchvision downloads and reads them."""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from datamodule.image import ImageDataModule
from datamodule.loader import MemorySource, Source
from process.errors import UserError


class TorchvisionSet(ImageDataModule):
    """Class `name` of torchvision.datasets, in `root`; downloaded in prepare_data if it is absent.

    Raises UserError if the download fails, and for a damaged file, with its name.
    """

    def __init__(self, name: str, root: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.dataset_name, self.root = name, Path(root).absolute()
        self._opened: dict[str, Any] = {}  # data sets that prepare_data has read

    @property
    def class_names(self) -> list[str]:
        self.source("train")
        return self._class_names

    def prepare_data(self) -> None:
        if not self._opened and not self._sources:
            self._opened = {part: self._open(part, download=True) for part in ("train", "test")}

    def load(self, part: str) -> Source | None:
        if part == "valid":
            return None
        dataset = self._opened.pop(part, None) or self._open(part, download=False)
        self._class_names = [str(name) for name in dataset.classes]
        images = torch.as_tensor(dataset.data)
        images_NCHW = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
        return MemorySource(images_NCHW, torch.as_tensor(dataset.targets).long())

    def _open(self, part: str, download: bool) -> Any:
        from torchvision import datasets

        dataset_class = getattr(datasets, self.dataset_name)
        folder = _files(dataset_class, self.root)[0][0].parent
        absent = [each for each in (folder, *folder.parents) if not each.exists()]
        try:
            return dataset_class(self.root, train=part == "train", download=download)
        except Exception as error:  # torchvision passes on exceptions of sockets, archives, pickle and assert
            for each in absent:
                with suppress(OSError):  # not empty: some of the files were downloaded
                    each.rmdir()
            if damaged := next(filter(_is_damaged, _files(dataset_class, self.root)), None):
                raise UserError(f"{damaged[0]}: damaged: delete it, and the next run downloads it again") from error
            if isinstance(error, PermissionError):
                raise UserError(
                    f"{error.filename or self.root}: permission denied: set data.root to a folder of yours"
                ) from error
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
            raise UserError(
                f"{folder}: {self.dataset_name} is not there and cannot be downloaded ({reason.strip()}): "
                "put its files there, set data.root, or use data=digits, which needs no download"
            ) from error


def mnist(root: str, settings: dict[str, Any]) -> TorchvisionSet:
    """Return MNIST for a data set that is made of its images; it takes the split and the order of `settings`."""
    names = ("batch_size", "seed", "split_seed", "valid", "fold", "num_folds", "limit_train", "num_workers")
    facts: dict[str, Any] = {"num_classes": 10, "channels": 1, "image_size": (28, 28), "mean": [0.0], "std": [1.0]}
    common = {name: settings[name] for name in names}
    return TorchvisionSet(name="MNIST", root=root, crop_padding=0, flip=False, warp=0, **facts, **common)


def _files(dataset_class: Any, root: Path) -> list[tuple[Path, str | None]]:
    """Return the files that torchvision reads, with their md5 sums if it checks them."""
    if hasattr(dataset_class, "resources"):  # MNIST and those that follow its format
        raw = root / dataset_class.__name__ / "raw"
        return [(raw / Path(url).stem, None) for url, _ in dataset_class.resources]
    folder, meta = root / dataset_class.base_folder, dataset_class.meta
    files = [*dataset_class.train_list, *dataset_class.test_list, (meta["filename"], meta["md5"])]
    return [(folder / name, md5) for name, md5 in files]


def _is_damaged(file: tuple[Path, str | None]) -> bool:
    from torchvision.datasets.utils import check_integrity

    path, md5 = file
    if not path.is_file():
        return False
    if md5 is not None:
        return not check_integrity(path, md5)
    with path.open("rb") as stream:  # idx: 0, 0, type, number of dimensions; the dimensions; the bytes
        header = stream.read(4)
        dimensions = header[3] if len(header) == 4 else 0
        sizes = stream.read(4 * dimensions)
    if dimensions == 0 or len(sizes) < 4 * dimensions:
        return True
    count = math.prod(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
    return path.stat().st_size != len(header) + len(sizes) + count
