"""Images and labels in tables of Hugging Face's library `datasets`: a folder of one's own, or a name of the Hub."""

# N images of a table, C channels, H height, W width

import logging
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodule.arrow_tables import find_column, image_root, open_tables
from datamodule.class_folders import PARTS
from datamodule.image_folder import EncodedImageData, EncodedImages
from datamodule.loader import Source
from process.errors import UserError
from process.ranks import is_rank_zero

log = logging.getLogger(__name__)

NO_LABEL = -1  # as the library writes it


class TableSource(EncodedImages):
    """Source of the images in a column of a memory-mapped table, of which a batch reads its rows.

    A row holds the content of an image file, or the path of one below `root`; others are refused. `name` is that of the
    table in messages. The other arguments are those of EncodedImages.
    """

    def __init__(self, table: Any, column: str, name: str, root: Path, targets: Tensor, *limits: Any) -> None:
        super().__init__(targets, *limits)
        self.table = table.select_columns([column]).with_format("arrow")
        self.column, self.name, self.root = column, name, root

    def where(self, i: int) -> str:
        return f"{self.name}[{i}]"

    def read(self, i: int) -> bytes:
        cell = self.table[i : i + 1].column(self.column)[0]
        if not cell.is_valid:
            raise OSError("no image")
        if cell["bytes"].is_valid:
            content = cell["bytes"].as_buffer()  # of the mapped file, not copied yet
            self.check_size(i, content.size)
            return bytes(content)
        if not cell["path"].is_valid:
            raise OSError("no image")
        path = Path(os.path.normpath(self.root / cell["path"].as_py()))
        if not path.is_relative_to(self.root):
            raise OSError(f"its path, {cell['path'].as_py()}, leads out of {self.root}")
        if not path.is_file():
            raise OSError(f"no file {path}")
        self.check_size(i, path.stat().st_size)
        return path.read_bytes()


class HuggingFaceImages(EncodedImageData):
    """Images of the splits train, validation (or valid, val) and test, converted to channels and image_size.

    Classes and their names are those of the column of labels. A part without labels is left out. Raises UserError for
    data that cannot be opened, without images or without labels. Decoded images are not kept for later runs.

    Args:
        path: a folder, or OWNER/NAME of the Hub, see arrow_tables.
        subset: which of the Hub's data sets of this name, if there are several.
        revision: a commit or tag of the Hub; None: the newest.
        image_column: its name; None: the only column of images.
        label_column: its name; None: the only column of labels.
    """

    def __init__(
        self,
        *,
        path: str,
        subset: str | None = None,
        revision: str | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.path, self.subset, self.revision = path, subset, revision
        self.image_column, self.label_column = image_column, label_column

    def prepare_data(self) -> None:
        self.tables  # noqa: B018 # downloads and converts what is not there yet

    @cached_property
    def tables(self) -> dict[str, Any]:
        """The table of each part that is there."""
        splits = open_tables(self.path, self.subset, self.revision)
        found: dict[str, Any] = {}
        for name, table in splits.items():
            part = PARTS.get(name)
            if part in found:
                raise UserError(f"{self.path}: several splits for data of {part}, such as {name}: keep one of them")
            if part is not None:
                found[part] = table
        if "train" not in found:
            raise UserError(f"{self.path}: no split train, but {', '.join(splits)}: rename one of them")
        if unused := [name for name in splits if name not in PARTS]:
            self._note(f"{self.path}: not used: {', '.join(unused)} (only train, validation and test are)")
        return found

    @cached_property
    def class_names(self) -> list[str]:  # type: ignore[override]
        return self._names_of(self.tables["train"])

    def load(self, part: str) -> Source | None:
        table = self.tables.get(part)
        if table is None:
            return None
        name = f"{self.path}: {part}"
        if part != "train" and "ClassLabel" not in {type(each).__name__ for each in table.features.values()}:
            self._note(f"{name}: it has no labels, and is left out")
            return None
        labels_N = self._labels_of(table, name)
        if len(labels_N) == 0 or (part != "train" and (labels_N == NO_LABEL).all()):
            self._note(f"{name}: it has no {'labels' if len(labels_N) else 'rows'}, and is left out")
            return None
        if lacking := int((labels_N == NO_LABEL).sum()):
            raise UserError(f"{name}: {lacking:,} of {len(labels_N):,} rows have no label: leave them out by `filter`")
        if (names := self._names_of(table)) != self.class_names:
            raise UserError(f"{name}: its classes, {', '.join(names[:8])}, are not those of train: make them the same")
        if len(names) != self.num_classes:
            raise UserError(f"data.num_classes={self.num_classes}, but {self.path} has {len(names)}: correct it")
        if int(labels_N.min()) < 0 or int(labels_N.max()) >= len(names):
            raise UserError(f"{name}: labels from {labels_N.min()} to {labels_N.max()} of {len(names)} classes")
        column = find_column(table.features.to_dict(), "Image", self.image_column, self.path)
        shape = (self.channels, *self.image_size)
        limits = (shape, self.white, self.max_megapixels)
        source = TableSource(table, column, name, image_root(self.path), labels_N, *limits)
        return self.fitting(part, source, name)

    def _labels_of(self, table: Any, name: str) -> Tensor:
        column = find_column(table.features.to_dict(), "ClassLabel", self.label_column, name)
        labels = table.select_columns([column]).with_format("arrow")[:].column(column)
        return torch.from_numpy(labels.fill_null(NO_LABEL).to_numpy().astype("int64"))

    def _names_of(self, table: Any) -> list[str]:
        features = table.features.to_dict()
        return list(features[find_column(features, "ClassLabel", self.label_column, self.path)]["names"])

    def _note(self, line: str) -> None:
        (log.warning if is_rank_zero() else log.info)(line)  # a terminal shows the warnings of all ranks
