"""The file of one bag: features [n, F] in .npy, .pt, .h5 or .safetensors, of which only what is asked for is read."""

# n elements of the bag, K chosen elements, F features

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from process.errors import UserError, first_line

if TYPE_CHECKING:
    from torch import Tensor

ENDINGS = (".npy", ".pt", ".h5", ".safetensors")
FEATURES, COORDS, LABELS = "features", "coords", "instance_labels"
BLOCK = 1024  # rows of an .h5 that are read at once
FLOATS = {"float16", "float32", "float64", "bfloat16"}
CHANGED = "changed since the start"
SHORT = {"F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16"}  # in .safetensors


class UnusableFileError(Exception):
    """Error that says what is wrong with a file, in a few words that are the same for all such files."""


class BagFile:
    """One bag on disk. Nothing is read before it is asked for; of features, only the chosen rows.

    Args:
        path: its file; None if there is none.
        beside: the files of its coordinates and instance labels, by name, as far as they exist.
        problem: why it cannot be used, if that is known already.
    """

    def __init__(self, name: str, path: Path | None, beside: dict[str, Path], problem: str | None = None) -> None:
        self.name, self.path, self.beside = name, path, beside
        self.length, self.width, self.dtype = 0, 0, ""
        self.offset: int | None = None  # where the rows begin, if they follow each other in the file
        self.size = 0  # bytes
        self.problem = problem
        if path is not None and problem is None:
            self._read_header(path)

    def __str__(self) -> str:
        return self.name if self.path is None else str(self.path)

    def _read_header(self, path: Path) -> None:
        """Set length, width and dtype of the features, or the problem."""
        try:
            shape, dtype, offset = _header(path, FEATURES) or _Header((), "", None)
            if len(shape) != 2:
                raise UnusableFileError(f"not [n, F] but of the shape {list(shape)}")
            if dtype not in FLOATS:
                raise UnusableFileError(f"{dtype}, not float16 or float32")
            if shape[0] == 0 or shape[1] == 0:
                raise UnusableFileError("empty")
            for name, sizes in ((COORDS, [(shape[0], 2)]), (LABELS, [(shape[0],), (shape[0], 1)])):
                found = self._header_beside(name)
                if found is not None and found not in sizes:
                    raise UnusableFileError(f"{name} of the wrong shape ({list(found)}, not {list(sizes[0])})")
            self.length, self.width, self.dtype = shape[0], shape[1], dtype
            self.offset, self.size = offset, path.stat().st_size
        except UnusableFileError as error:
            self.problem = str(error)

    def _header_beside(self, name: str) -> tuple[int, ...] | None:
        assert self.path is not None
        found = _header(self.beside[name], FEATURES) if name in self.beside else _header(self.path, name)
        return None if found is None else found.shape

    def read_into(self, out_KF: "Tensor", rows_K: "Tensor | None" = None) -> None:
        """Copy the features, or some rows of them in increasing order, into `out_KF`. Raises UnusableFileError."""
        assert self.path is not None
        if rows_K is None and self.offset is not None and self.dtype == str(out_KF.numpy().dtype):
            with _explained(self.path), self.path.open("rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_size != self.size:
                    raise UnusableFileError(CHANGED)
                file.seek(self.offset)
                room = memoryview(out_KF.numpy().data).cast("B")
                while room:
                    if not (count := file.readinto(room)):
                        raise UnusableFileError(CHANGED)
                    room = room[count:]
            return
        with _opened(self.path, FEATURES) as array:
            if tuple(array.shape) != (self.length, self.width):
                raise UnusableFileError(CHANGED)
            _copy(array, out_KF, rows_K)

    def coords(self) -> "Tensor | None":
        """Return the places (x, y) of the elements [n, 2], as they are stored; None if they are unknown."""
        return self._beside(COORDS)

    def instance_labels(self) -> "Tensor | None":
        """Return the labels of the elements [n]; None if they are unknown."""
        labels = self._beside(LABELS)
        return None if labels is None else labels.flatten()

    def _beside(self, name: str) -> "Tensor | None":
        import numpy as np
        import torch

        assert self.path is not None
        path, key = (self.beside[name], FEATURES) if name in self.beside else (self.path, name)
        with _opened(path, key) as array:
            if array is None or isinstance(array, torch.Tensor):
                return None if array is None else array.clone()
            return torch.from_numpy(np.array(array))


def find_files(root: Path, names: Sequence[str]) -> list[BagFile]:
    """Return the files of bags in root/features, or in the root if there is no such folder."""
    folder = root / FEATURES if (root / FEATURES).is_dir() else root
    parts = {place: _by_stem(root / place, names, (".npy",)) for place in (COORDS, LABELS)}
    features = _by_stem(folder, names, ENDINGS)
    found = []
    for name in names:
        beside = {place: paths[name][0] for place, paths in parts.items() if name in paths}
        paths = features.get(name, [])
        if len(paths) == 1:
            found.append(BagFile(name, paths[0], beside))
        else:
            problem = f"several files, keep one ({', '.join(path.name for path in paths)})"
            missing = f"missing in {folder} ({' '.join(ENDINGS)})"
            found.append(BagFile(name, None, beside, problem if paths else missing))
    return found


def _by_stem(folder: Path, names: Iterable[str], endings: Sequence[str]) -> dict[str, list[Path]]:
    """Return the files of each name with one of the endings; each folder is listed once."""
    found: dict[str, list[Path]] = {}
    for place in sorted({(folder / name).parent for name in names}):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.suffix in endings:
                name = path.relative_to(folder).as_posix().removesuffix(path.suffix)
                found.setdefault(name, []).append(path)
    return found


def refuse_unusable(files: Iterable[BagFile], where: object, width: int) -> None:
    """Raise a UserError that names all bags with a problem, and all whose features are not of the `width`."""
    wrong: dict[str, list[str]] = {}
    for file in files:
        problem = file.problem
        if problem is None and file.width != width:
            problem = f"{file.width} features, not {width} as the others"
        if problem is not None:
            wrong.setdefault(problem, []).append(file.name)
    if wrong:
        raise UserError(f"{where}: {describe(wrong)}: replace these files, or remove their lines from the table")


def describe(wrong: dict[str, list[str]]) -> str:
    """Return `empty: a, b; 7 features, not 16 as the others: c` for the names of each problem."""
    return "; ".join(f"{why}: {', '.join(names)}" for why, names in wrong.items())


class _Header(NamedTuple):
    """Shape and type of an array in a file, and the byte at which its rows begin if they follow each other there."""

    shape: tuple[int, ...]
    dtype: str
    offset: int | None


def _header(path: Path, key: str) -> _Header | None:
    """Return the header of an array in a file; None if there is no such array."""
    if path.suffix == ".safetensors":
        found = _safetensors_header(path).get(key)
        return (
            None if found is None else _Header(tuple(found["shape"]), SHORT.get(found["dtype"], found["dtype"]), None)
        )
    with _opened(path, key) as array:
        if array is None:
            return None
        # of a NumPy array in mapped memory; to read it whole takes less time than to look up its pages
        offset = getattr(array, "offset", None)
        in_order = offset is not None and array.flags.c_contiguous
        return _Header(tuple(array.shape), str(array.dtype).removeprefix("torch."), offset if in_order else None)


def _safetensors_header(path: Path) -> dict[str, Any]:
    """Return {name: {shape, dtype}}; torch, which the library would import, takes seconds."""
    with _explained(path), path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        if size > path.stat().st_size:
            raise ValueError("no .safetensors file")
        arrays = _chosen(json.loads(file.read(size)))
        if 8 + size + max(array["data_offsets"][1] for array in arrays.values()) > path.stat().st_size:
            raise ValueError("it ends too early")
        return arrays


def _chosen(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return arrays by name, the only one there is as the features."""
    named = {name: array for name, array in arrays.items() if name != "__metadata__"}
    others = [name for name in named if name not in (FEATURES, COORDS, LABELS)]
    if FEATURES not in named and len(others) == 1:
        named[FEATURES] = named[others[0]]
    if FEATURES not in named:
        raise UnusableFileError(f"no array named {FEATURES}, but {', '.join(named) or 'none'}")
    return named


@contextmanager
def _opened(path: Path, key: str) -> Iterator[Any]:
    """Open an array of a file without reading it: a NumPy array or a tensor in mapped memory, or a dataset of h5py.

    Yields None if there is no such array, and raises UnusableFileError for a file that cannot be read.
    """
    with _explained(path):
        if path.suffix == ".h5":
            with _library("h5py").File(path, "r") as file:
                found = file.get(key) if key != FEATURES else _chosen(dict(file))[key]
                yield found if found is None else _mapped(path, found)
                return
        if path.suffix == ".npy":
            import numpy as np

            if not _begins_with(path, b"\x93NUMPY"):
                raise ValueError("it holds no array of NumPy")
            yield np.load(path, mmap_mode="r") if key == FEATURES else None
        elif path.suffix == ".pt":
            yield _from_pt(path, key)
        else:
            with _library("safetensors").safe_open(path, "pt") as file:
                names = _chosen({name: name for name in file.keys()})  # noqa: SIM118  it is no dictionary
                yield file.get_tensor(names[key]) if key in names else None


def _begins_with(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _from_pt(path: Path, key: str) -> Any:
    import torch

    if not zipfile.is_zipfile(path):
        raise UnusableFileError("not a .pt as torch.save writes it today, but damaged or in an old format")
    try:
        found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnusableFileError("objects besides tensors, which could run code: save the tensors alone") from error
    arrays = found if isinstance(found, dict) else {FEATURES: found}
    arrays = {str(name): array for name, array in arrays.items() if isinstance(array, torch.Tensor)}
    return _chosen(arrays).get(key)


def _mapped(path: Path, dataset: Any) -> Any:
    """Return an h5py dataset that lies in one piece as an array in mapped memory, others as they are."""
    import numpy as np

    offset = None if dataset.chunks else dataset.id.get_offset()
    if offset is None or dataset.external or dataset.is_virtual or dataset.size == 0:
        return dataset
    return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)


def _copy(array: Any, out_KF: "Tensor", rows_K: "Tensor | None") -> None:
    """Copy an array, or some rows of it in increasing order, into a tensor of any float type."""
    import numpy as np
    import torch

    if isinstance(array, torch.Tensor):
        out_KF.copy_(array if rows_K is None else array.index_select(0, rows_K))
        return
    if isinstance(array, np.memmap) and rows_K is not None:
        out_KF.copy_(torch.from_numpy(np.take(array, rows_K.numpy(), axis=0)))
        return
    # chunk by chunk, of which HDF5 reads all rows anyway; its own choice of rows takes many times as long
    chunk = getattr(array, "chunks", None) or (BLOCK,)
    size = chunk[0] * max(1, BLOCK // chunk[0]) if rows_K is None else chunk[0]
    rows_K = torch.arange(len(array)) if rows_K is None else rows_K
    blocks, counts = (rows_K // size).unique_consecutive(return_counts=True)
    place = 0
    for block, inside_K in zip(blocks.tolist(), rows_K.split(counts.tolist()), strict=True):
        block_nF = torch.from_numpy(np.array(array[block * size : (block + 1) * size]))
        if len(inside_K) < len(block_nF):
            block_nF = block_nF.index_select(0, inside_K - block * size)
        out_KF[place : place + len(inside_K)].copy_(block_nF)
        place += len(inside_K)


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{name} is not installed, which these bags need: uv pip install {name}") from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what libraries raise for a file that they cannot read into an UnusableFileError."""
    try:
        yield
    except (UserError, UnusableFileError, MemoryError):
        raise
    except Exception as error:  # h5py, numpy, torch and json raise OSError, ValueError, KeyError, UnpicklingError, ...
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UnusableFileError(f"cannot be read as {path.suffix} ({reason})") from error
