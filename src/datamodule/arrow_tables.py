"""Tables of images as the library `datasets` of Hugging Face writes them: where they are, and what their columns are.

path/dataset_dict.json, path/state.json     a folder that `save_to_disk` has written: Arrow, opened as it is
path/**/train*.parquet, or train/*.parquet  likewise test and validation; converted once into the library's cache
path/train/<class>/<image>                  a folder of images that is no such folder
OWNER/NAME                                  a data set of the Hub, downloaded into the library's cache

Imports nothing slow for a folder that `save_to_disk` has written, as the config calls it.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from process.errors import UserError, first_line

SAVED, SAVED_PARTS = "state.json", "dataset_dict.json"
INFO = "dataset_info.json"
NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
LAYOUT = "name a folder that save_to_disk has written, one of .parquet files, or a data set of the Hub, OWNER/NAME"
TO_LABELS = "class_encode_column('COLUMN') of the library makes labels of it"


def count_classes(path: str, subset: str | None, revision: str | None, column: str | None) -> int:
    """Return the number of classes of the labels. `column` is their name; None: the only column of labels."""
    features = _features(path, subset, revision)
    return len(features[find_column(features, "ClassLabel", column, path)]["names"])


def find_column(features: Mapping[str, Any], kind: str, column: str | None, path: str) -> str:
    """Return the column of a kind, ClassLabel or Image, that has the name `column`, or is the only one of its kind.

    `features` are those of the library, as plain mappings. Raises UserError that names the columns that are there.
    """
    setting, what = {"ClassLabel": ("label_column", "labels"), "Image": ("image_column", "images")}[kind]
    kinds = {name: each.get("_type", "list") if isinstance(each, dict) else "list" for name, each in features.items()}
    found = [name for name, each in kinds.items() if each == kind and column in (None, name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"{path}: several columns of {what}: choose data.{setting}={found[0]}, or {', '.join(found[1:])}"
        )
    there = ", ".join(f"{name} ({each})" for name, each in kinds.items()) or "none"
    wanted = f"data.{setting}={column}: " if column is not None else ""
    remedy = f"; {TO_LABELS}" if kind == "ClassLabel" else ""
    raise UserError(f"{wanted}{path} has no such column of {what} ({kind}), its columns are {there}{remedy}")


def open_tables(path: str, subset: str | None, revision: str | None) -> dict[str, Any]:
    """Return the tables of the library by the names of their splits, memory-mapped.

    Those of Parquet, of a folder of images and of the Hub are written into its cache first, if they are not there.
    """
    library = _library()
    folder = Path(path).expanduser()
    with _Explained(path, folder.is_dir()):
        if (folder / SAVED_PARTS).is_file():
            return dict(library.load_from_disk(str(folder)))
        if (folder / SAVED).is_file():
            return {"train": library.load_from_disk(str(folder))}
        if folder.is_dir():  # its builder is named, so that no other one is guessed, nor the Hub asked
            builder = "parquet" if _parquets(folder) else "imagefolder"
            return dict(library.load_dataset(builder, data_dir=str(folder.absolute())))
        _refuse_no_name(path)
        return dict(library.load_dataset(path, subset, revision=revision))


def image_root(path: str) -> Path:
    """Return the folder outside of which no image is read whose table holds its path in place of its content."""
    folder = Path(path).expanduser()
    return folder.absolute() if folder.is_dir() else Path(_library().config.HF_CACHE_HOME).absolute()


def _features(path: str, subset: str | None, revision: str | None) -> dict[str, Any]:
    """Return the columns of the first table, as plain mappings; mostly without opening it."""
    folder = Path(path).expanduser()
    with _Explained(path, folder.is_dir()):
        if (folder / SAVED_PARTS).is_file():
            folder /= str(json.loads((folder / SAVED_PARTS).read_text(encoding="utf-8"))["splits"][0])
        if (folder / INFO).is_file():
            return dict(json.loads((folder / INFO).read_text(encoding="utf-8"))["features"])
        if folder.is_dir() and (files := _parquets(folder)):
            return _parquet_features(files[0])
        if folder.is_dir():
            return dict(next(iter(open_tables(path, None, None).values())).features.to_dict())
        _refuse_no_name(path)
        found = _library().load_dataset_builder(path, subset, revision=revision).info.features
        if found is None:
            raise UserError(f"data.path={path}: the Hub does not tell its classes: set data.num_classes=NUMBER")
        return dict(found.to_dict())


def _parquets(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def _parquet_features(path: Path) -> dict[str, Any]:
    _library()
    from pyarrow.parquet import read_schema

    schema = read_schema(path)
    recorded = (schema.metadata or {}).get(b"huggingface")
    if recorded is not None:
        return dict(json.loads(recorded)["info"]["features"])
    return {field.name: {"_type": str(field.type).partition("<")[0]} for field in schema}


def _refuse_no_name(path: str) -> None:
    if not NAME.fullmatch(path):
        raise UserError(f"data.path={path}: no such folder: {LAYOUT}")


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise UserError("datasets is not installed, which data=huggingface needs: uv pip install datasets") from error
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns of each attempt to reach the Hub
    return datasets


class _Explained:
    """Context that turns what the library raises for data that it cannot open into one line."""

    def __init__(self, path: str, is_folder: bool) -> None:
        self.path, self.is_folder = path, is_folder

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None or isinstance(error, UserError | MemoryError) or not isinstance(error, Exception):
            return
        reason = first_line(error.__cause__ or error if "generating the dataset" in str(error) else error)
        if self.is_folder:
            raise UserError(f"data.path={self.path}: cannot be opened ({reason}): {LAYOUT}") from error
        raise UserError(
            f"data.path={self.path}: no such folder, and no data set of the Hub that can be had here ({reason}): "
            f"correct it, or download it elsewhere, load_dataset('{self.path}').save_to_disk('FOLDER'), and set "
            "data.path=FOLDER"
        ) from error
